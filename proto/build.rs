//! Compiles the protos with protox (no protoc to install) and keeps the descriptors for reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=rollcall");
    let files = [
        "rollcall/admin/v1/audit.proto",
        "rollcall/admin/v1/identity_routers.proto",
        "rollcall/admin/v1/identity_sources.proto",
        "rollcall/admin/v1/just_in_time.proto",
        "rollcall/admin/v1/license.proto",
        "rollcall/admin/v1/schedules.proto",
        "rollcall/admin/v1/sync_jobs.proto",
        "rollcall/admin/v1/tenants.proto",
        "rollcall/admin/v1/users.proto",
        "rollcall/admin/v1/webhooks.proto",
        "rollcall/replica/v1/replica.proto",
        "rollcall/router/v1/enrollment.proto",
        "rollcall/router/v1/router.proto",
    ];
    let descriptors = protox::Compiler::new(["."])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?
        .file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // What replicas ask one another is nobody else's: no reflection shows it.
    let mut public = descriptors.clone();
    public.file.retain(|file| !file.name().starts_with("rollcall/replica/"));
    fs::write(out.join("descriptors.bin"), public.encode_to_vec())?;
    tonic_prost_build::configure()
        // ids and digests are slices of the received buffer, not copies
        .bytes(".rollcall.router.v1")
        .btree_map(".")
        // Secrets: src/debug.rs.
        .skip_debug([
            ".rollcall.admin.v1.RegistrationCode",
            ".rollcall.admin.v1.VerifyPasswordRequest",
            ".rollcall.admin.v1.Webhook",
            ".rollcall.router.v1.EnrollRequest",
            ".rollcall.router.v1.VerifyOrder",
        ])
        // skipped with what it is in
        .enum_attribute(".rollcall.admin.v1.RegistrationCode.State", "#[derive(Debug)]")
        .enum_attribute(".rollcall.admin.v1.Webhook", "#[derive(Debug)]")
        .message_attribute(".rollcall.admin.v1.Webhook.Deliveries", "#[derive(Debug)]")
        .compile_fds(descriptors)?;
    Ok(())
}
