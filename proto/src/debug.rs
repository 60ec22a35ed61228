//! Messages that carry secrets, printed without them.

use std::fmt;

use crate::admin::v1::{RegistrationCode, Webhook};
use crate::router::v1::EnrollRequest;

impl fmt::Debug for RegistrationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationCode")
            .field("name", &self.name)
            .field("identity_router", &self.identity_router)
            .field("identity_sources", &self.identity_sources)
            .field("state", &self.state)
            .field("created_by", &self.created_by)
            .field("create_time", &self.create_time)
            .field("expire_time", &self.expire_time)
            .field("use_time", &self.use_time)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address of some receivers is a secret, too.
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("events", &self.events)
            .field("enabled", &self.enabled)
            .field("state", &self.state)
            .field("deliveries", &self.deliveries)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrollRequest").finish_non_exhaustive()
    }
}
