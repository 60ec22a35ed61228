//! Renewal on the live connection: a new certificate for a new key, and the connection lives on with its life.

use rollcall_proto::router::v1::{RenewCertificateRequest, RenewCertificateResponse};
use tonic::Status;

use super::super::enrollment::{issue, off};
use super::super::status;
use super::{RouterIdentity, RouterLink};
use crate::ca::RequestedKey;
use crate::model::{Certified, EventType};

pub(super) async fn renew(
    link: &RouterLink,
    router: &RouterIdentity,
    request: RenewCertificateRequest,
) -> Result<RenewCertificateResponse, Status> {
    let now = link.clock.now();
    let authorities = link.issuer.authorities().ok_or_else(off)?;
    let key = RequestedKey::from_request(&request.certificate_request)
        .map_err(|error| status::invalid(vec![("certificate_request".to_owned(), error.to_string())]))?;
    let plan = link.issuer.plan(&key, now);
    let holds = Some(i64::from(request.generation)).filter(|generation| *generation > 0);
    let (tenant, id) = (&router.tenant, &router.router);
    let renewed = link.store.renew_router((tenant, id), router.shown(), holds, plan, &router.actor, now);
    let generation = match renewed.await.map_err(status::store)? {
        Ok(generation) => generation,
        Err(refused) => return Err(link.refuse(EventType::EnrollmentRefused, &refused, router)),
    };
    let certified = Certified { tenant: tenant.clone(), router: id.clone(), generation };
    let certificate = issue(&authorities, &certified, &key, plan, now)?;
    router.validity.renew(generation, plan.expires_at);
    tracing::info!(%tenant, router = %id, generation, "identity router renewed its certificate");
    Ok(RenewCertificateResponse { certificate: Some(certificate) })
}
