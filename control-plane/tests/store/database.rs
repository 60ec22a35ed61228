//! Fresh databases of either engine.

use std::sync::Arc;

use control_plane::model::{
    Actor, AttributeMapping, DirectoryServer, DisableGuard, IdFormat, Scope, Security, SourceSettings,
    Timestamp,
};
use control_plane::store::{self, Store};
use harness::Postgres;
use tempfile::TempDir;

use crate::statements;

pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

/// Makes databases.
pub(crate) enum Engine {
    Sqlite(TempDir),
    Postgres(Postgres),
}

impl Engine {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(Postgres::start().expect("a PostgreSQL server"))
    }

    /// URL of a database that nobody has used. From then on, statements are watched.
    pub(crate) fn url(&self) -> String {
        statements::watch();
        match self {
            Self::Sqlite(folder) => {
                format!("sqlite://{}/{}.db", folder.path().display(), uuid::Uuid::now_v7())
            }
            Self::Postgres(server) => server.database().expect("a database"),
        }
    }

    /// A store in a fresh database.
    pub(crate) async fn store(&self) -> Arc<Store> {
        store::open(&self.url()).await.expect("a store")
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.expect("a runtime").block_on(future);
    statements::check();
    result
}

/// How many cases a property tries unless `PROPTEST_CASES` says so. A quick run tries fewer.
pub(crate) fn cases(usual: u32) -> u32 {
    let told = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let quick = std::env::var_os("ROLLCALL_QUICK").is_some();
    told.unwrap_or(if quick { usual.div_ceil(8) } else { usual })
}

/// Who does what the tests do.
pub(crate) fn admin() -> Actor {
    Actor { name: "admins/test".to_owned(), via: String::new(), address: "192.0.2.7".to_owned() }
}

/// Settings of a source that could be read.
pub(crate) fn settings() -> SourceSettings {
    SourceSettings {
        servers: vec![DirectoryServer { host: "localhost".to_owned(), port: 636, security: Security::Ldaps }],
        credential: "directory".to_owned(),
        roots: vec!["dc=lab,dc=test".to_owned()],
        scope: Scope::Subtree,
        object_class: "person".to_owned(),
        extra_filter: String::new(),
        page_size: 1_000,
        mapping: AttributeMapping {
            immutable_id: "entryUUID".to_owned(),
            immutable_id_format: IdFormat::Uuid,
            user_name: "uid".to_owned(),
            mail: "mail".to_owned(),
            mail_optional: true,
            first_name: String::new(),
            last_name: String::new(),
            display_name: String::new(),
            phone: String::new(),
            disabled: None,
            expires: None,
            policy_attributes: Vec::new(),
            assume_absent_mark: false,
        },
        sync_limit: 1_000_000,
        disable_guard: DisableGuard::default(),
        routers: Vec::new(),
        verify_passwords: false,
    }
}

/// Instantiates a test for each engine.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {$(
            #[test]
            fn $name() {
                super::block_on(super::$name(super::Engine::sqlite()));
            }
        )*}
        mod postgres {$(
            #[test]
            fn $name() {
                super::block_on(super::$name(super::Engine::postgres()));
            }
        )*}
    };
}
pub(crate) use on_both;
