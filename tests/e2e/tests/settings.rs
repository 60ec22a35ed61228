//! Identity sources: draft and published revision, Test Connection, errors that name every wrong
//! field.

use anyhow::Result;
use harness::world::{SOURCE, World};
use rollcall_proto::admin::v1::{
    CreateIdentitySourceRequest, GetIdentitySourceRequest, IdentitySource, IdentitySourceSettings,
    TestConnectionRequest, UpdateIdentitySourceRequest, identity_source::State,
};
use tonic_types::StatusExt;

use crate::expect::{flawless, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn changes_take_effect_only_when_published() -> Result<()> {
    let world = World::builder().these_people(flawless(50)).start().await?;
    let source = world.create_and_publish_source(world.settings()).await?;
    assert_eq!((source.state(), source.published_revision), (State::Published, 1));

    let mut settings = world.settings();
    settings.extra_filter = "(employeeType=nobody)".to_owned();
    let request = UpdateIdentitySourceRequest {
        identity_source: Some(IdentitySource {
            name: SOURCE.to_owned(),
            draft: Some(IdentitySourceSettings {
                extra_filter: settings.extra_filter.clone(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: Some(prost_mask(&["draft.extra_filter"])),
    };
    let changed = world.admin.sources.clone().update_identity_source(request).await?.into_inner();
    assert_eq!(changed.state(), State::ChangesPending);
    assert_eq!(changed.draft.unwrap_or_default().roots, settings.roots, "the mask changes nothing else");
    assert_eq!(succeeded(&world.sync_now().await?), [50, 0, 0, 0, 0], "the published settings are read");
    Ok(())
}

fn prost_mask(paths: &[&str]) -> rollcall_proto::FieldMask {
    rollcall_proto::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_etag_is_refused() -> Result<()> {
    let world = World::builder().start().await?;
    let first = world.create_and_publish_source(world.settings()).await?;
    let rename = |etag: &str, name: &str| UpdateIdentitySourceRequest {
        identity_source: Some(IdentitySource {
            name: SOURCE.to_owned(),
            display_name: name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_mask(&["display_name"])),
    };
    let mut sources = world.admin.sources.clone();
    sources.update_identity_source(rename(&first.etag, "One")).await?;
    let refused = sources.update_identity_source(rename(&first.etag, "Two")).await.expect_err("an old etag");
    assert_eq!(refused.code(), tonic::Code::Aborted);
    let now =
        sources.get_identity_source(GetIdentitySourceRequest { name: SOURCE.to_owned() }).await?.into_inner();
    assert_eq!(now.display_name, "One");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_at_once() -> Result<()> {
    let world = World::builder().start().await?;
    let mut settings = world.settings();
    settings.roots = vec!["not a dn".to_owned()];
    settings.extra_filter = "(unbalanced".to_owned();
    settings.page_size = 100_000;
    settings.mapping = Some(rollcall_proto::admin::v1::AttributeMapping {
        phone: "userPassword".to_owned(),
        user_name: String::new(),
        ..settings.mapping.unwrap_or_default()
    });
    let request = CreateIdentitySourceRequest {
        parent: "tenants/acme".to_owned(),
        identity_source_id: "hq".to_owned(),
        identity_source: Some(IdentitySource { draft: Some(settings), ..Default::default() }),
    };
    let refused =
        world.admin.sources.clone().create_identity_source(request).await.expect_err("wrong fields");
    let violations = refused.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in ["roots", "extra_filter", "page_size", "mapping.phone", "mapping.user_name"] {
        assert!(fields.iter().any(|named| named.contains(field)), "{field} in {fields:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn test_connection_says_per_server_how_far_it_came() -> Result<()> {
    let world = World::builder().these_people(flawless(30)).start().await?;
    let mut settings = world.settings();
    let mut unreachable = settings.directory_servers[0].clone();
    // LDAPS where only plain LDAP answers
    unreachable.port = i32::from(world.directory().ldap_port());
    settings.directory_servers.push(unreachable);
    if let Some(mapping) = &mut settings.mapping {
        mapping.policy_attributes.push("employeeNumber".to_owned());
    }
    world.create_and_publish_source(settings).await?;
    let request = TestConnectionRequest { name: SOURCE.to_owned(), ..Default::default() };
    let test = world.admin.sources.clone().test_connection(request).await?.into_inner();
    assert!(test.passed && test.identity_router.ends_with("/hq-1"), "{test:?}");
    let [first, second] = &test.servers[..] else { panic!("two servers: {test:?}") };
    assert!(first.allowed_by_policy && first.resolved && first.connected && first.bound && first.roots_found);
    assert!(first.certificate_expire_time.is_some() && first.error.is_empty());
    assert_eq!(first.sample_count, 30);
    let occurs =
        |attribute: &str| first.attributes.iter().find(|a| a.attribute == attribute).map(|a| a.entry_count);
    assert_eq!((occurs("uid"), occurs("employeeNumber")), (Some(30), Some(0)));
    assert!(second.resolved && !second.bound && !second.error.is_empty(), "{second:?}");
    Ok(())
}
