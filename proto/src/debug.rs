//! Messages that carry secrets, printed without them. Those with a password are wiped when they are
//! dropped; what TLS and HTTP/2 had of them in their buffers on the way is not ours to wipe.

use std::fmt;

use zeroize::Zeroize as _;

use crate::admin::v1::{RegistrationCode, VerifyPasswordRequest, Webhook};
use crate::router::v1::{EnrollRequest, VerifyOrder};

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

impl fmt::Debug for VerifyPasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyPasswordRequest").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl Drop for VerifyPasswordRequest {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for VerifyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOrder").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl Drop for VerifyOrder {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_password_prints_without_it() {
        let request = VerifyPasswordRequest {
            parent: "tenants/acme".to_owned(),
            login: "anna".to_owned(),
            password: "canary".to_owned(),
        };
        let printed = format!("{request:?}");
        assert!(
            printed.contains("acme") && !printed.contains("canary") && !printed.contains("anna"),
            "{printed}"
        );
        let order = VerifyOrder {
            request_id: "r1".to_owned(),
            person: None,
            login: "anna".to_owned(),
            password: "canary".to_owned(),
        };
        let message = crate::router::v1::session_response::Message::VerifyOrder(order);
        let response = crate::router::v1::SessionResponse { message: Some(message) };
        let printed = format!("{response:?}");
        assert!(
            printed.contains("r1") && !printed.contains("canary") && !printed.contains("anna"),
            "{printed}"
        );
    }
}
