//! Names that people choose, and numbers that the store gives. A number of one kind cannot be
//! passed for another.

use std::fmt;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub String);
        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id!(
    /// A tenant's id, as in `tenants/{tenant}`.
    TenantId
);
text_id!(
    /// An identity source's id within its tenant.
    SourceId
);
text_id!(
    /// An identity router's id within its tenant.
    RouterId
);

text_id!(
    /// A webhook's id within its tenant.
    WebhookId
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i64);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A tenant's number in the store.
    TenantNo
);
number!(
    /// An identity source's number in the store.
    SourceNo
);
number!(
    /// A sync job's number in the store, counting up over all tenants; 0 stands for "no job" in a
    /// user's journal fields.
    JobNo
);
number!(
    /// A user's number, counting up from 1 within its tenant. Small and dense, so that a set of
    /// users is a bitmap.
    UserNo
);
number!(
    /// A webhook's number in the store.
    WebhookNo
);
