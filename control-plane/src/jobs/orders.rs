//! What a router is ordered to do, and what it answers.

use std::time::Duration;

use rollcall_proto::admin::v1::DirectoryServerTest;
use rollcall_proto::router::v1::{session_request, session_response};
use secrecy::SecretString;
use uuid::Uuid;

use crate::model::{
    Asked, Failure, FetchBy, Found, KnownBy, LookUp, Presence, RouterId, SourceId, SourceSettings,
};

/// What a router is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Read a source and upload it.
    Sync(Box<SyncOrder>),
    /// Stop reading.
    Cancel {
        /// The source of the job.
        source: SourceId,
        /// The job.
        job: Uuid,
        /// The read.
        epoch: i64,
    },
    /// Test the connection to a source's directory servers.
    Test {
        /// Comes back in the answer.
        request: String,
        /// What to test.
        settings: Box<SourceSettings>,
    },
    /// Look users up again who were not in a complete read.
    LookUp {
        /// Comes back in the answer.
        request: String,
        /// The source as it was read.
        settings: Box<SourceSettings>,
        /// Whom to look up, and what helps to tell hidden from gone.
        users: LookUp,
    },
    /// Fetch one person.
    Fetch {
        /// Comes back in the answer.
        request: String,
        /// Which person, and from where.
        order: Box<FetchOrder>,
    },
    /// Have a password verified.
    Verify {
        /// Comes back in the answer.
        request: String,
        /// Whose, and by whom.
        order: Box<VerifyOrder>,
    },
    /// Another replica's question, which goes on as it came.
    Forwarded(Box<session_response::Message>),
}

/// A password that is to be verified.
#[derive(Clone, Debug)]
pub struct VerifyOrder {
    /// Whose.
    pub person: FetchOrder,
    /// The name that was typed.
    pub login: String,
    /// The password. Wiped when it is dropped, and nothing shows it.
    pub password: SecretString,
}

/// One person that is to be fetched.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    /// From where.
    pub settings: SourceSettings,
    /// Revision of the settings.
    pub revision: i32,
    /// Which person.
    pub by: FetchBy,
    /// How long the directory may take.
    pub deadline: Duration,
    /// Whether the record would enable a user, so that the answer must say whether the mark is
    /// proved.
    pub prove_mark: bool,
}

/// A read that is ordered.
#[derive(Clone, Debug)]
pub struct SyncOrder {
    /// The source of the job.
    pub source: SourceId,
    /// The job.
    pub job: Uuid,
    /// The read.
    pub epoch: i64,
    /// What to read.
    pub settings: SourceSettings,
    /// Its revision.
    pub revision: i32,
    /// No user of the source is known: send records at once.
    pub records_only: bool,
    /// What users are known by so far, where each entry is to be read with both ids.
    pub former: Option<KnownBy>,
}

/// What a connection test found.
#[derive(Clone, Debug)]
pub struct ConnectionTest {
    /// Who tested.
    pub router: RouterId,
    /// One result a server.
    pub servers: Vec<DirectoryServerTest>,
}

/// What a router answers to an order that is a question.
#[derive(Debug)]
pub enum Answer {
    /// To a connection test.
    Test(Vec<DirectoryServerTest>),
    /// To a look-up.
    LookUp(Result<Vec<Presence>, Failure>),
    /// To a fetch.
    Fetch(Result<Found, Failure>),
    /// To a verification.
    Verify(Result<Asked, Failure>),
    /// To another replica's question: as it came.
    Forwarded(Box<session_request::Message>),
}
