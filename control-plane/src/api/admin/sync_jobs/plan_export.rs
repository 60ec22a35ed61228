//! Exports a plan: entry by entry, as JSON lines, or as CSV.

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::export_sync_plan_request::Format;
use tonic::{Response, Status};

use super::convert;
use crate::api::admin::context::AdminContext;
use crate::api::common::paged_stream::{self, PagedStream};
use crate::api::common::resource_names;
use crate::model::{Category, JobNo, PlanEntry, Status as UserStatus, TenantId, UserNo, UserValues, spelled};

/// The fields of a user in both files, in the order of the columns.
const FIELDS: [&str; 9] = [
    "user_name",
    "mail",
    "first_name",
    "last_name",
    "display_name",
    "phone",
    "distinguished_name",
    "policy_attributes",
    "status",
];

/// Starts an export.
pub(super) async fn open(
    context: &AdminContext,
    tenant: TenantId,
    (job, category): (JobNo, Option<Category>),
    format: Format,
) -> Result<Response<PagedStream<proto::ExportSyncPlanResponse>>, Status> {
    let (store, jobs) = (context.store.clone(), context.jobs.clone());
    let page = move |after| {
        let (store, now) = (store.clone(), jobs.now());
        async move { store.plan_entries(job, category, after, paged_stream::PAGE_ITEMS, now).await }
    };
    let head = (format == Format::Csv).then(header).transpose()?;
    paged_stream::open(head, page, move |entry| entry_message(&tenant, entry, format)).await
}

fn entry_message(
    tenant: &TenantId,
    entry: PlanEntry,
    format: Format,
) -> Result<proto::ExportSyncPlanResponse, Status> {
    let line = match format {
        Format::Unspecified => {
            let entry = Some(convert::plan_entry_to_proto(tenant, entry));
            return Ok(proto::ExportSyncPlanResponse { entry, ..Default::default() });
        }
        Format::JsonLines => json_line(tenant, &entry).to_string(),
        Format::Csv => csv_line(&columns(tenant, &entry))?,
    };
    Ok(proto::ExportSyncPlanResponse { line, ..Default::default() })
}

fn user_name(tenant: &TenantId, user: Option<UserNo>) -> String {
    user.map_or_else(String::new, |user| resource_names::user_name(tenant, user))
}

/// The values in the order of [`FIELDS`].
fn fields((values, status): &(UserValues, UserStatus)) -> [String; 9] {
    let UserValues {
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes,
    } = values.clone();
    let status = spelled(*status);
    [
        user_name,
        mail,
        first_name,
        last_name,
        display_name,
        phone,
        distinguished_name,
        policy_attributes,
        status,
    ]
}

fn json_line(tenant: &TenantId, entry: &PlanEntry) -> serde_json::Value {
    let object = |state: &(UserValues, UserStatus)| -> serde_json::Value {
        let fields = FIELDS.iter().zip(fields(state)).map(|(field, value)| {
            let parsed = || serde_json::from_str(&value).unwrap_or_else(|_| serde_json::json!({}));
            let value = if *field == "policy_attributes" { parsed() } else { value.clone().into() };
            ((*field).to_owned(), value)
        });
        serde_json::Value::Object(fields.collect())
    };
    serde_json::json!({
        "category": spelled(entry.category),
        "user": user_name(tenant, entry.user),
        "immutable_id": entry.id.text(),
        "before": entry.before.as_ref().map(object),
        "after": entry.after.as_ref().map(object),
        "reason": entry.reason.map(spelled),
        "message": entry.message,
    })
}

fn header() -> Result<proto::ExportSyncPlanResponse, Status> {
    let mut names: Vec<String> =
        ["category", "user", "immutable_id", "reason", "message"].map(str::to_owned).to_vec();
    for state in ["before", "after"] {
        names.extend(FIELDS.map(|field| format!("{state}_{field}")));
    }
    Ok(proto::ExportSyncPlanResponse { line: csv_line(&names)?, ..Default::default() })
}

fn columns(tenant: &TenantId, entry: &PlanEntry) -> Vec<String> {
    let reason = entry.reason.map_or_else(String::new, spelled);
    let mut columns = vec![
        spelled(entry.category),
        user_name(tenant, entry.user),
        entry.id.text(),
        reason,
        entry.message.clone(),
    ];
    for state in [&entry.before, &entry.after] {
        columns.extend(state.as_ref().map_or_else(|| [const { String::new() }; 9], fields));
    }
    columns.into_iter().map(escape_formula).collect()
}

/// What a spreadsheet would take for a formula it must show as text (OWASP, CSV Injection): the
/// values are of whoever writes to the directory.
fn escape_formula(value: String) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{value}") } else { value }
}

/// A record of RFC 4180 without its line end.
fn csv_line(columns: &[String]) -> Result<String, Status> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let written = writer.write_record(columns).map_err(std::io::Error::other);
    let bytes =
        written.and_then(|()| writer.into_inner().map_err(|error| std::io::Error::other(error.to_string())));
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| Status::internal("a line of the plan cannot be written"))?;
    Ok(text.trim_end_matches("\r\n").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user_name: &str) -> PlanEntry {
        let values = UserValues { user_name: user_name.to_owned(), ..UserValues::default() };
        PlanEntry {
            category: Category::Added,
            user: None,
            id: crate::model::ImmutableId(vec![7; 16].into()),
            before: None,
            after: Some((values, UserStatus::Enabled)),
            reason: None,
            message: "Would be added.".to_owned(),
        }
    }

    #[test]
    fn every_value_comes_back_from_a_csv_reader_and_none_is_a_formula() {
        let tenant = TenantId("acme".to_owned());
        let lines = ["a\"b,c\nd", "=1+1", "+x", "@SUM", "-5"]
            .map(|name| csv_line(&columns(&tenant, &entry(name))).unwrap());
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).from_reader(lines.join("\r\n").leak().as_bytes());
        let names: Vec<String> = reader.records().map(|record| record.unwrap()[14].to_owned()).collect();
        assert_eq!(names, ["a\"b,c\nd", "'=1+1", "'+x", "'@SUM", "'-5"]);
        let header = header().unwrap().line;
        assert_eq!(header.split(',').nth(14), Some("after_user_name"));
    }
}
