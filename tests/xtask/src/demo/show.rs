//! What the demo prints: a live progress bar, the status, the details and the commands to try.

use std::time::Duration;

use comfy_table::{Table, presets};
use harness::world::World;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_proto::admin::v1::{
    IdentityRouter, License, SyncJob, SyncJobDetail, TestConnectionResponse, sync_job::State,
    sync_job_detail::Category,
};

pub(super) fn chapter(title: &str) {
    println!("\n== {title}");
}

/// Shows a job while it runs.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {bar:30} {pos} read {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(super) fn show(&mut self, job: &SyncJob) {
        let counts = job.counts.unwrap_or_default();
        let expected = u64::try_from(counts.expected().max(counts.read())).unwrap_or_default();
        self.0.set_length(expected);
        self.0.set_position(u64::try_from(counts.read()).unwrap_or_default());
        self.0.set_message(format!(
            "{} added, {} updated, {} disabled, {} not synchronized",
            counts.added(),
            counts.updated(),
            counts.disabled(),
            counts.not_synchronized()
        ));
    }

    /// Replaces the bar by the job's status, as Synchronization Status shows it.
    pub(super) fn end(self, job: &SyncJob) {
        let elapsed = self.0.elapsed();
        self.0.finish_and_clear();
        let counts = job.counts.unwrap_or_default();
        println!("  {:?} after {:.1} s", job.state(), elapsed.as_secs_f64());
        if let Some(error) = &job.error {
            println!("  {}", error.message);
        }
        if let Some(hold) = job.hold.as_ref().filter(|_| job.state() == State::Held) {
            println!("  {:?}: {}", hold.reason(), hold.message);
        }
        let mut table = table(&["read", "added", "updated", "unchanged", "not synchronized", "disabled"]);
        let numbers = [
            counts.read(),
            counts.added(),
            counts.updated(),
            counts.unchanged(),
            counts.not_synchronized(),
            counts.disabled(),
        ];
        table.add_row(numbers.map(|number| number.to_string()));
        println!("{table}");
    }
}

/// The identity routers, as an administrator sees them.
pub(super) fn enrollment(routers: &[IdentityRouter]) {
    let mut table = table(&["identity router", "state", "certificate", "valid until", "key (SHA-256)"]);
    for router in routers {
        let until = router.certificate_expire_time.as_ref().map(ToString::to_string);
        table.add_row([
            router.name.clone(),
            format!("{:?}", router.state()),
            router.certificate_generation.to_string(),
            until.unwrap_or_default(),
            format!("{}…", router.key_fingerprint.get(..16).unwrap_or_default()),
        ]);
    }
    println!("{table}");
}

pub(super) fn connection(test: &TestConnectionResponse) {
    println!("  tested from {}", test.identity_router);
    let mut table = table(&["server", "connected", "bound", "roots found", "sample", "error"]);
    for server in &test.servers {
        let yes = |step: bool| if step { "yes" } else { "no" }.to_owned();
        table.add_row([
            server.server.clone(),
            yes(server.connected),
            yes(server.bound),
            yes(server.roots_found),
            server.sample_count.to_string(),
            server.error.clone(),
        ]);
    }
    println!("{table}");
}

/// The first lines of one list of Show Details.
pub(super) fn details(details: &[SyncJobDetail], most: usize) {
    let Some(first) = details.first() else { return };
    let title = match first.category() {
        Category::Added => "added",
        Category::Updated => "updated",
        Category::Disabled => "disabled",
        Category::WouldBeDisabled => "would be disabled",
        _ => "not synchronized",
    };
    println!("  Show Details, {title}: {} of {}", details.len().min(most), details.len());
    let mut table = table(&["user name", "mail", "what happened"]);
    // One of each reason first: that is what there is to learn.
    let mut reasons = std::collections::HashSet::new();
    let (new, rest): (Vec<_>, Vec<_>) = details.iter().partition(|detail| reasons.insert(detail.reason));
    for detail in new.into_iter().chain(rest).take(most) {
        table.add_row([&detail.user_name, &detail.mail, &detail.message]);
    }
    println!("{table}");
}

pub(super) fn license(license: &License) {
    println!("  license: {} of {} seats are taken", license.used(), license.user_limit());
}

/// The exact commands to try, with the paths of this run.
pub(super) fn commands(world: &World, tenant: &str, source: &str) {
    chapter("Everything is running: try it (Ctrl-C ends it and removes everything)");
    let folder = world.dir().display();
    println!("  cd {folder}");
    let call = |who: &str, method: &str, message: &str| {
        println!(
            "  grpcurl -cacert ca/ca.pem -cert {who}.pem -key {who}.key -d '{message}' localhost:{} rollcall.admin.v1.{method}",
            world.address().port()
        );
    };
    let admin = format!("admin-{tenant}-alice");
    println!(
        "  # a further identity router: a code that works once, and what the router's machine does with it"
    );
    call(
        &admin,
        "IdentityRouterService/CreateRegistrationCode",
        &format!(r#"{{"parent":"tenants/{tenant}","identity_router_id":"hq-2"}}"#),
    );
    println!(
        "  router-agent enroll --control-plane https://localhost:{} --state state-2   # asks for the code",
        world.address().port()
    );
    call(&admin, "IdentityRouterService/ListIdentityRouters", &format!(r#"{{"parent":"tenants/{tenant}"}}"#));
    println!("  # syncs");
    call(&admin, "SyncJobService/StartSync", &format!(r#"{{"parent":"{source}"}}"#));
    call(&admin, "SyncJobService/WatchSyncJob", &format!(r#"{{"name":"{source}/syncJobs/latest"}}"#));
    call(
        &admin,
        "SyncJobService/ListSyncJobDetails",
        &format!(r#"{{"parent":"{source}/syncJobs/latest","category":"NOT_SYNCHRONIZED"}}"#),
    );
    call(
        &admin,
        "SyncJobService/ExportSyncJobDetails",
        &format!(r#"{{"parent":"{source}/syncJobs/latest","category":"NOT_SYNCHRONIZED"}}"#),
    );
    call(&admin, "SyncJobService/StartSync", &format!(r#"{{"parent":"{source}","validate_only":true}}"#));
    call(
        &admin,
        "SyncJobService/ExportSyncPlan",
        &format!(r#"{{"parent":"{source}/syncJobs/latest","format":"JSON_LINES"}}"#),
    );
    call(&admin, "SyncJobService/StopSync", &format!(r#"{{"name":"{source}/syncJobs/latest"}}"#));
    call(&admin, "UserService/ListUsers", &format!(r#"{{"parent":"tenants/{tenant}","text":"müller"}}"#));
    call(&admin, "LicenseService/GetLicense", &format!(r#"{{"name":"tenants/{tenant}/license"}}"#));
    call(
        "operator-ops",
        "LicenseService/UpdateLicense",
        &format!(r#"{{"license":{{"name":"tenants/{tenant}/license","user_limit":5000}}}}"#),
    );
    println!(
        "  grpcurl -cacert ca/ca.pem -cert {admin}.pem -key {admin}.key localhost:{} describe rollcall.admin.v1.SyncJobService",
        world.address().port()
    );
    println!(
        "  The directory: ldap://localhost:{} as cn=root,{}",
        world.directory().ldap_port(),
        world.directory().base_dn()
    );
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}
