//! The store through its trait, with real databases: what each method promises (`conformance`,
//! `absences` for users who are gone or return, `routers` for routers and their codes, `replicas`
//! for who has which router, `audit` for the trail, on both engines), what shows of a trail that
//! was tampered with (`tamper`), how refusals reach it (`refusals`), what whole syncs come to
//! (`reconciliation`, as properties; `movers`: those of two sources; `plans`: dry runs, applied
//! plans, undone jobs; `undo`: what is kept for them; `rekey`: another immutable id; `marks`: what
//! enables and disables users; `logins`: whose a login is; `sync_limit`; `shared_ids`: two entries
//! with one id), when they
//! start by themselves (`schedules`), what is delivered to webhooks (`webhooks`), what syncs of
//! single users promise (`single`) and how they go with syncs of all (`single_order`), what
//! deletion promises (`deletion`), leaves (`deletion_traces`) and does beside syncs
//! (`deletion_order`), and what it does when the database is in trouble: at the start
//! (`trouble_at_start`), with a full disk (`trouble_on_disk`), on the wire (`trouble_on_wire`), and
//! when callers go away or collide (`trouble_of_callers`).

mod absences;
mod audit;
mod conformance;
mod database;
mod deletion;
mod deletion_order;
mod deletion_traces;
mod directory;
mod drive;
mod entry_versions;
mod logins;
mod marks;
mod movers;
mod plans;
mod query_plans;
mod reconciliation;
mod refusals;
mod rekey;
mod replicas;
mod routers;
mod schedules;
mod shared_ids;
mod single;
mod single_order;
mod statements;
mod statements_of_engines;
mod strategies;
mod sync_limit;
mod tamper;
mod tenants;
mod tool;
mod trouble;
mod trouble_at_start;
mod trouble_of_callers;
mod trouble_on_disk;
mod trouble_on_wire;
mod undo;
mod webhooks;
