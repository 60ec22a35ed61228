//! Identity sources and their settings. Settings are stored as JSON of these types: add fields with
//! a default, rename none.

use serde::{Deserialize, Serialize};

use super::{SourceId, Timestamp};

/// An identity source with its draft and what is published.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentitySource {
    /// Id within the tenant.
    pub id: SourceId,
    /// Name for people.
    pub display_name: String,
    /// Counts up with every change; the etag.
    pub version: i64,
    /// The settings as last edited.
    pub draft: SourceSettings,
    /// The settings that syncs use.
    pub published: Option<SourceSettings>,
    /// Number of the published revision; 0 before the first publish.
    pub published_revision: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When draft or name last changed.
    pub updated_at: Timestamp,
    /// When it was last published.
    pub published_at: Option<Timestamp>,
    /// Since when a sync is due, because an enabled user was not found when it was asked for alone.
    pub sync_due_at: Option<Timestamp>,
}

/// What to read, from where, and how to map it. Defaults are filled in at the door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSettings {
    /// In fail-over order.
    pub servers: Vec<DirectoryServer>,
    /// Name of the router's credential.
    pub credential: String,
    /// Base DNs.
    pub roots: Vec<String>,
    /// Scope below each.
    pub scope: Scope,
    /// Object class of a person.
    pub object_class: String,
    /// RFC 4515 filter, or empty.
    pub extra_filter: String,
    /// Entries a page.
    pub page_size: u32,
    /// Attribute mapping.
    pub mapping: AttributeMapping,
    /// Most users one bulk sync synchronizes.
    pub sync_limit: u32,
    /// Disable guard.
    pub disable_guard: DisableGuard,
    /// Routers that may read the source, by id, in order of preference; empty means any.
    pub routers: Vec<String>,
    /// Whether the directory may be asked for passwords of its people.
    #[serde(default)]
    pub verify_passwords: bool,
}

impl SourceSettings {
    /// Which fields differ, as paths of the API's update mask.
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        // Every field by name: a new one does not compile before somebody has thought of it here.
        let Self {
            servers,
            credential,
            roots,
            scope,
            object_class,
            extra_filter,
            page_size,
            mapping,
            sync_limit,
            disable_guard,
            routers,
            verify_passwords,
        } = self;
        let fields = [
            ("draft.directory_servers", *servers != other.servers),
            ("draft.credential", *credential != other.credential),
            ("draft.roots", *roots != other.roots),
            ("draft.scope", *scope != other.scope),
            ("draft.object_class", *object_class != other.object_class),
            ("draft.extra_filter", *extra_filter != other.extra_filter),
            ("draft.page_size", *page_size != other.page_size),
            ("draft.sync_limit", *sync_limit != other.sync_limit),
            ("draft.disable_guard", *disable_guard != other.disable_guard),
            ("draft.identity_routers", *routers != other.routers),
            ("draft.verify_passwords", *verify_passwords != other.verify_passwords),
        ];
        let changed = fields.into_iter().chain(mapping.differs_in(&other.mapping));
        changed.filter(|(_, differs)| *differs).map(|(path, _)| path).collect()
    }
}

impl AttributeMapping {
    fn differs_in(&self, other: &Self) -> [(&'static str, bool); 13] {
        let Self {
            immutable_id,
            immutable_id_format,
            user_name,
            mail,
            mail_optional,
            first_name,
            last_name,
            display_name,
            phone,
            disabled,
            expires,
            policy_attributes,
            assume_absent_mark,
        } = self;
        [
            ("draft.mapping.immutable_id", *immutable_id != other.immutable_id),
            ("draft.mapping.immutable_id_format", *immutable_id_format != other.immutable_id_format),
            ("draft.mapping.user_name", *user_name != other.user_name),
            ("draft.mapping.mail", *mail != other.mail),
            ("draft.mapping.mail_optional", *mail_optional != other.mail_optional),
            ("draft.mapping.first_name", *first_name != other.first_name),
            ("draft.mapping.last_name", *last_name != other.last_name),
            ("draft.mapping.display_name", *display_name != other.display_name),
            ("draft.mapping.phone", *phone != other.phone),
            ("draft.mapping.disabled", *disabled != other.disabled),
            ("draft.mapping.expires", *expires != other.expires),
            ("draft.mapping.policy_attributes", *policy_attributes != other.policy_attributes),
            ("draft.mapping.assume_absent_mark", *assume_absent_mark != other.assume_absent_mark),
        ]
    }
}

/// One directory server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryServer {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection.
    pub security: Security,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// TLS from the first byte.
    Ldaps,
    /// StartTLS first.
    StartTls,
    /// None.
    Plain,
}

/// How far below a root a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All.
    Subtree,
    /// Direct children.
    OneLevel,
}

/// Which directory attribute becomes which field. Empty: not mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeMapping {
    /// Immutable id.
    pub immutable_id: String,
    /// How it is read.
    pub immutable_id_format: IdFormat,
    /// User name.
    pub user_name: String,
    /// Mail address.
    pub mail: String,
    /// Whether a person without mail is synchronized.
    pub mail_optional: bool,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Display name.
    pub display_name: String,
    /// Telephone number.
    pub phone: String,
    /// Which entries are disabled.
    pub disabled: Option<DisabledRule>,
    /// When accounts expire.
    #[serde(default)]
    pub expires: Option<ExpiryRule>,
    /// Further attributes.
    pub policy_attributes: Vec<String>,
    /// Whether an entry that does not show the attribute of `disabled` or `expires` has none.
    #[serde(default)]
    pub assume_absent_mark: bool,
}

impl AttributeMapping {
    /// What people are known by.
    #[must_use]
    pub fn known_by(&self) -> KnownBy {
        KnownBy { attribute: self.immutable_id.clone(), format: self.immutable_id_format }
    }
}

/// The immutable id of a source: the attribute, and how it is read.
#[derive(Clone, Debug)]
pub struct KnownBy {
    /// The attribute.
    pub attribute: String,
    /// How it is read.
    pub format: IdFormat,
}

/// Names of attributes have no case (RFC 4512, 2.5).
impl PartialEq for KnownBy {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format && self.attribute.to_lowercase() == other.attribute.to_lowercase()
    }
}

impl Eq for KnownBy {}

/// How an immutable id is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdFormat {
    /// RFC 4122 text.
    Uuid,
    /// Active Directory's 16 bytes.
    Guid,
    /// Text.
    Text,
}

/// Which entries are disabled in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledRule {
    /// The attribute.
    pub attribute: String,
    /// The test.
    pub test: DisabledTest,
}

/// How the attribute of a [`DisabledRule`] is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisabledTest {
    /// One of these values occurs.
    AnyValueOf(Vec<String>),
    /// Any value occurs.
    Present,
    /// All of these bits are set.
    BitsSet(i32),
}

/// When an account expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiryRule {
    /// The attribute.
    pub attribute: String,
    /// How a point in time is written in it.
    pub format: ExpiryFormat,
}

/// How the attribute of an [`ExpiryRule`] is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpiryFormat {
    /// 100 nanoseconds since 1601.
    Filetime,
    /// RFC 4517.
    GeneralizedTime,
    /// Days since 1970.
    Days,
    /// Seconds since 1970.
    Seconds,
}

/// Most users that may be disabled for absence by one sync, and by all syncs of 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisableGuard {
    /// Absolute.
    pub max_users: u32,
    /// Of the source's enabled users.
    pub max_percent: u32,
    /// Absolute, for absences that the directory does not explain.
    #[serde(default = "DisableGuard::default_unexplained")]
    pub max_unexplained: u32,
    /// The same in thousandths of the source's enabled users.
    #[serde(default = "DisableGuard::default_unexplained_permille")]
    pub max_unexplained_permille: u32,
}

impl DisableGuard {
    /// Unless a source says otherwise.
    #[must_use]
    pub fn default_unexplained() -> u32 {
        25
    }

    /// Unless a source says otherwise: half a percent.
    #[must_use]
    pub fn default_unexplained_permille() -> u32 {
        5
    }
}

impl Default for DisableGuard {
    fn default() -> Self {
        Self {
            max_users: 500,
            max_percent: 5,
            max_unexplained: Self::default_unexplained(),
            max_unexplained_permille: Self::default_unexplained_permille(),
        }
    }
}
