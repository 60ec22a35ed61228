//! The table of who may call what is complete: every method has a row, and every row a method.

use std::collections::BTreeSet;

use control_plane::api::middleware::rights::{RIGHTS, allowed_roles};
use prost::Message;
use prost_types::FileDescriptorSet;

fn methods() -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for descriptors in [
        rollcall_proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        let set = FileDescriptorSet::decode(descriptors).expect("descriptors");
        for file in set.file {
            for service in &file.service {
                for method in &service.method {
                    methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
    }
    methods
}

#[test]
fn every_method_has_a_row_that_says_who_may_call_it() {
    // Those of EnrollmentService are served where nobody is known, and are denied here.
    let elsewhere =
        |method: &&String| method.contains("EnrollmentService/") || method.ends_with("Health/List");
    for method in methods().iter().filter(|method| !elsewhere(method)) {
        assert!(
            !allowed_roles(method).is_empty(),
            "{method} has no row: say in src/api/middleware/rights.rs who may call it"
        );
    }
}

#[test]
fn every_row_is_of_a_method_that_exists() {
    let methods = methods();
    for (path, _) in RIGHTS {
        assert!(
            methods.contains(*path),
            "{path} is no method any more: take its row out of src/api/middleware/rights.rs"
        );
    }
}

#[test]
fn what_has_no_row_is_denied() {
    for path in [
        "",
        "/",
        "/rollcall.admin.v1.UserService/listusers",
        "//rollcall.admin.v1.UserService/ListUsers",
        "/x/y",
        "/rollcall.router.v1.EnrollmentService/Enroll",
        "/rollcall.router.v1.EnrollmentService/Recover",
    ] {
        assert!(allowed_roles(path).is_empty(), "{path}");
    }
}
