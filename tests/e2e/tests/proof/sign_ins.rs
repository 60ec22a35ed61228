//! Sign-ins behind a directory with a fault, on OpenLDAP and on 389 Directory Server: the short
//! form of `cargo xtask drill signins`, which goes through more faults with more people.

use anyhow::Result;
use harness::Ds389;
use harness::drill::{Fault, Kind, Size, sign_ins};

async fn drill(fault: Fault, kind: Kind) -> Result<()> {
    if kind == Kind::Ds389 && !Ds389::can_run() {
        return Ok(());
    }
    let figures = Box::pin(sign_ins::run(fault, kind, Size::SHORT)).await?;
    let none: [String; 0] = [];
    assert_eq!(figures.problems(), none, "{figures:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_cannot_be_searched_on_openldap_disable_no_user() -> Result<()> {
    drill(Fault::IdNotSearchable, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_cannot_be_searched_on_389_ds_disable_no_user() -> Result<()> {
    drill(Fault::IdNotSearchable, Kind::Ds389).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_root_on_openldap_disables_no_user() -> Result<()> {
    drill(Fault::RootHidden, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_root_on_389_ds_disables_no_user() -> Result<()> {
    drill(Fault::RootHidden, Kind::Ds389).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_people_on_openldap_are_not_disabled() -> Result<()> {
    drill(Fault::PeopleHidden, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_people_on_389_ds_are_not_disabled() -> Result<()> {
    drill(Fault::PeopleHidden, Kind::Ds389).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_on_openldap_disables_and_enables_no_user() -> Result<()> {
    drill(Fault::OlderServer, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_on_389_ds_disables_and_enables_no_user() -> Result<()> {
    drill(Fault::OlderServer, Kind::Ds389).await
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_id_disable_no_user() -> Result<()> {
    drill(Fault::EntryWithoutId, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_branch_behind_a_proxy_disables_no_user() -> Result<()> {
    drill(Fault::BranchMissing, Kind::OpenLdap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_root_disables_no_user() -> Result<()> {
    drill(Fault::RootRenamed, Kind::OpenLdap).await
}
