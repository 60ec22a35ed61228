//! A toy directory, and the ways in which it may be read.

use bytes::Bytes;
use control_plane::model::{ImmutableId, NameKind, Record, TenantNo, UserValues};
use control_plane::reconcile::names;

/// A person with small numbers for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: u8,
    pub(crate) user_name: u8,
    pub(crate) mail: Option<u8>,
    pub(crate) title: u8,
    pub(crate) disabled: bool,
    /// How both names are written: the same names in other letters.
    pub(crate) spelling: u8,
    /// The bind account may not read whether the account is disabled.
    pub(crate) hidden: bool,
}

/// Spellings of one name: lower case, upper case, decomposed, and folded to other letters.
pub(crate) const SPELLINGS: [&str; 4] =
    ["stra\u{df}\u{fc}", "STRASS\u{dc}", "stra\u{df}u\u{308}", "strass\u{fc}"];

/// People, at most one an id.
pub(crate) type Directory = Vec<Person>;

/// How a directory is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Seed of the order of arrival.
    pub(crate) shuffle: u64,
    /// Records a batch.
    pub(crate) batch: usize,
    /// Where the job is interrupted once, to be taken up again.
    pub(crate) crash: Option<Crash>,
    /// The disables are held, and approved.
    pub(crate) held: bool,
}

/// A moment at which everything that is not in the database is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    /// While the directory is read, after so many batches.
    Reading(usize),
    /// Behind the read, after so many transactions.
    Reconciling(usize),
}

impl Reading {
    pub(crate) fn plain() -> Self {
        Self { shuffle: 0, batch: 3, crash: None, held: false }
    }

    /// The people in this reading's order.
    pub(crate) fn order(self, directory: &Directory) -> Directory {
        let mut people = directory.clone();
        people.sort_by_key(|person| {
            *blake3::hash(&[&self.shuffle.to_le_bytes()[..], &[person.id]].concat()).as_bytes()
        });
        people
    }
}

impl Person {
    pub(crate) fn immutable_id(&self) -> ImmutableId {
        ImmutableId(Bytes::from(vec![self.id + 1; 16]))
    }

    pub(crate) fn record(&self, tenant: TenantNo) -> Record {
        let spelled = SPELLINGS[usize::from(self.spelling) % SPELLINGS.len()];
        let user_name = format!("{spelled}{}", self.user_name);
        let mail = self.mail.map(|mail| format!("{spelled}{mail}@lab.test")).unwrap_or_default();
        let mut digest = [0; 16];
        // What proves the mark is no part of the digest, and what hides it changes the record.
        let seen = Self { disabled: self.disabled && !self.hidden, hidden: false, ..self.clone() };
        digest.copy_from_slice(&blake3::hash(format!("{seen:?}").as_bytes()).as_bytes()[..16]);
        Record {
            id: self.immutable_id(),
            digest,
            user_name_key: names::key(tenant, NameKind::UserName, &user_name),
            mail_key: (!mail.is_empty()).then(|| names::key(tenant, NameKind::Mail, &mail)),
            values: UserValues {
                user_name,
                mail,
                display_name: format!("title {}", self.title),
                ..UserValues::default()
            },
            disabled: seen.disabled,
            mark_proved: !self.hidden,
            warnings: Vec::new(),
            version: None,
        }
    }
}
