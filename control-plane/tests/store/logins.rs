//! User names and mail addresses are one namespace of logins, on both engines: who held a login
//! first keeps it, whichever way the other one came to it.

use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Category, NameKind, NotSynchronizedReason, Record, SingleOutcome, SourceId, TenantNo, Timestamp, User,
    UserFilter, UserSelector,
};
use control_plane::reconcile::names;
use control_plane::store::{NewJob, Observation, Outcome, SingleWrite, Work};

use crate::conformance::{OWNER, World, people};
use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::deletion::DAY;

on_both! {
    the_user_who_held_a_login_first_keeps_it_from_a_later_sync
    what_two_users_get_by_one_sync_is_the_login_of_neither
    a_sign_in_takes_no_login_from_another_user
    a_user_whose_two_names_are_equal_has_its_login
    a_login_is_free_once_its_holder_gives_it_up_and_stays_with_the_next_one
    a_holder_whose_name_only_changes_its_case_keeps_the_login
    a_contest_for_names_that_comes_to_nothing_takes_no_login_away
    an_undo_gives_back_the_login_too
    a_login_that_becomes_the_other_name_of_its_user_stays_its_own
}

const ANNA: &str = "anna@example.com";

fn at(minutes: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(60 * minutes))
}

/// Person `n` with these names.
fn called(tenant: TenantNo, n: u16, user_name: &str, mail: &str) -> Record {
    let mut record = people(tenant, n..n + 1).remove(0);
    record.digest =
        blake3::hash(format!("{user_name} {mail}").as_bytes()).as_bytes()[..16].try_into().expect("16 bytes");
    record.values.user_name = user_name.to_owned();
    record.values.mail = mail.to_owned();
    record.user_name_key = names::key(tenant, NameKind::UserName, user_name);
    record.mail_key = Some(names::key(tenant, NameKind::Mail, mail));
    record
}

/// Numbers, user names and mail addresses of people.
type Called<'a> = &'a [(u16, &'a str, &'a str)];

impl World {
    /// Synchronizes these people, a batch each, and returns the user names that the job lists as no
    /// logins.
    async fn sync_called(&self, people: Called<'_>, minutes: u64) -> Vec<String> {
        let (job, start) = self.reading("hq").await;
        for (n, user_name, mail) in people {
            let record = called(start.fence.tenant, *n, user_name, mail);
            let applied =
                self.store.apply(start.fence, Arc::new(vec![record]), Vec::new(), 0, at(minutes)).await;
            applied.expect("applied");
        }
        self.store.begin_reconciling(start.fence).await.expect("reconciling");
        self.store.resolve_names(start.fence, false, at(minutes)).await.expect("resolved");
        let done = Outcome::Succeeded { withheld: None, facts: None };
        let ended = self.store.finish_job(start.fence, done, at(minutes)).await.expect("an end");
        let listed = self.store.list_details(job.number, Some(Category::Warning), None, 10).await;
        let listed: Vec<_> = listed.expect("details").into_iter().map(|(_, line)| line).collect();
        assert_eq!(ended.counts.warnings, Some(i64::try_from(listed.len()).expect("few")));
        assert!(listed.iter().all(|line| line.reason == Some(NotSynchronizedReason::LoginTaken)));
        let listed: Vec<_> = listed.into_iter().map(|line| line.user_name).collect();
        let mut marked: Vec<_> = self.all_users().await.into_iter().filter(|user| user.login_taken).collect();
        marked.sort_by_key(|user| user.number);
        let marked: Vec<_> = marked.into_iter().map(|user| user.values.user_name).collect();
        assert_eq!(listed, marked, "the job and the users say the same");
        listed
    }

    async fn all_users(&self) -> Vec<User> {
        self.store.list_users(&self.tenant, &UserFilter::default(), None, 10).await.expect("users")
    }

    /// The user name of who signs in with a login.
    async fn signs_in(&self, login: &str) -> Result<String, bool> {
        let whom = UserSelector::Login(login.to_owned());
        let begun = self.store.begin_sign_in(&self.tenant, &whom).await.expect("an answer");
        begun.known.map(|known| known.user.values.user_name).ok_or(begun.is_taken)
    }

    /// What the directory has of person `n` alone.
    async fn observe_called(&self, (n, user_name, mail): (u16, &str, &str), minutes: u64) -> SingleOutcome {
        let tenant = self.reading_tenant().await;
        let record = called(tenant, n, user_name, mail);
        let of = self.all_users().await.into_iter().find(|user| user.id == record.id);
        let known = match of {
            Some(user) => {
                let whom = UserSelector::User(user.number);
                self.store.look_up_user(tenant, &whom).await.expect("an answer")
            }
            None => None,
        };
        let observation = Observation {
            tenant: self.tenant.clone(),
            source: SourceId::from("hq"),
            revision: 1,
            version: known.map(|known| known.version),
            asked_at: at(minutes),
            keep_fresh: false,
            by: admin(),
            now: at(minutes),
        };
        match self.store.apply_observation(observation, record).await.expect("written") {
            SingleWrite::Done(written) => written.outcome,
            SingleWrite::AskAgain(_) => panic!("the version is the present one"),
        }
    }

    /// Undoes the newest job of this source.
    async fn undo_newest(&self) {
        let source = SourceId::from("hq");
        let newest = self.store.job(&self.tenant, &source, None).await.expect("a job");
        let undo = NewJob { work: Work::Undo(newest.id), ..self.new_job("hq") };
        let job = self.store.create_job(undo).await.expect("a job");
        assert!(self.store.claim_job(job.number, OWNER, DAY, NOW).await.expect("a claim"));
        let fence = self.store.begin_undo(job.number, OWNER, NOW).await.expect("begun");
        let mut after = None;
        while let Some(last) = self.store.undo_changes(fence, after, 1, NOW).await.expect("changes") {
            after = Some(last);
        }
        self.store.begin_reconciling(fence).await.expect("reconciling");
        self.store.resolve_names(fence, false, NOW).await.expect("resolved");
        let mut after = None;
        while let Some(last) = self.store.undo_logins(fence, after, 1).await.expect("logins") {
            after = Some(last);
        }
        let done = Outcome::Succeeded { withheld: None, facts: None };
        self.store.finish_job(fence, done, NOW).await.expect("an end");
    }

    async fn reading_tenant(&self) -> TenantNo {
        let whom = UserSelector::Login("nobody".to_owned());
        self.store.begin_sign_in(&self.tenant, &whom).await.expect("an answer").tenant
    }
}

/// The user name becomes another's address, and the address another's user name.
async fn the_user_who_held_a_login_first_keeps_it_from_a_later_sync(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let bert = (2, "bert@example.com", "b@example.com");
    let first = world.sync_called(&[(1, "anna", ANNA), bert, (3, "eve", "eve@example.com")], 1).await;
    assert_eq!(first, [""; 0]);
    assert_eq!(world.sync_called(&[(1, "anna", ANNA), bert, (3, ANNA, "eve@example.com")], 2).await, [ANNA]);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"));
    assert_eq!(world.signs_in("Anna@Example.com").await.as_deref(), Ok("anna"), "in whatever case");
    assert_eq!(world.signs_in("eve@example.com").await.as_deref(), Ok(ANNA), "by the other name");
    assert_eq!(world.sync_called(&[(1, "anna", ANNA), bert, (3, "eve", bert.1)], 3).await, ["eve"]);
    assert_eq!(world.signs_in(bert.1).await.as_deref(), Ok(bert.1));
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"));
}

async fn what_two_users_get_by_one_sync_is_the_login_of_neither(engine: Engine) {
    let world = World::new(&engine, 100).await;
    // The first sync, and one that changes both.
    for (minutes, taken) in [(1, ANNA), (2, "team@example.com")] {
        let people = [(1, "anna", taken), (2, taken, "eve@example.com")];
        assert_eq!(world.sync_called(&people, minutes).await, ["anna", taken]);
        assert_eq!(world.signs_in(taken).await, Err(true), "{taken}");
        assert_eq!(world.signs_in("anna").await.as_deref(), Ok("anna"));
        assert_eq!(world.signs_in("eve@example.com").await.as_deref(), Ok(taken));
    }
    assert_eq!(world.signs_in(ANNA).await, Err(false), "nobody has it any more");
}

async fn a_sign_in_takes_no_login_from_another_user(engine: Engine) {
    let world = World::new(&engine, 100).await;
    world.sync_called(&[(1, "anna", ANNA), (2, "eve", "eve@example.com")], 1).await;
    // Known, and new. What the job of the first sync gave is not theirs.
    assert_eq!(world.observe_called((2, ANNA, "eve@example.com"), 2).await, SingleOutcome::Updated);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"));
    let mallory = (3, "mallory", "m@example.com");
    assert_eq!(world.observe_called((2, "eve", "eve@example.com"), 3).await, SingleOutcome::Updated);
    assert_eq!(world.observe_called((3, ANNA, mallory.2), 4).await, SingleOutcome::Added);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"));
    // One who has a name by a sign-in keeps it from a sync.
    assert_eq!(world.observe_called(mallory, 5).await, SingleOutcome::Updated);
    let people = [(1, "anna", ANNA), (2, "m@example.com", "eve@example.com"), mallory];
    assert_eq!(world.sync_called(&people, 6).await, ["m@example.com"]);
    assert_eq!(world.signs_in(mallory.2).await.as_deref(), Ok("mallory"));
}

async fn a_user_whose_two_names_are_equal_has_its_login(engine: Engine) {
    let world = World::new(&engine, 100).await;
    for people in [[(1, ANNA, "Anna@example.com")], [(1, "anna@EXAMPLE.com", ANNA)]] {
        assert_eq!(world.sync_called(&people, 1).await, [""; 0]);
        assert!(world.signs_in(ANNA).await.is_ok());
    }
}

async fn a_login_is_free_once_its_holder_gives_it_up_and_stays_with_the_next_one(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let eve = (2, ANNA, "eve@example.com");
    world.sync_called(&[(1, "anna", ANNA), (2, "eve", eve.2)], 1).await;
    assert_eq!(world.sync_called(&[(1, "anna", ANNA), eve], 2).await, [ANNA]);
    assert_eq!(world.sync_called(&[(1, "anna", "anna@new.example.com"), eve], 3).await, [""; 0]);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok(ANNA));
    assert_eq!(world.sync_called(&[(1, "anna", ANNA), eve], 4).await, ["anna"]);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok(ANNA));
}

async fn a_holder_whose_name_only_changes_its_case_keeps_the_login(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let eve = (2, ANNA, "eve@example.com");
    world.sync_called(&[(1, "anna", ANNA), (2, "eve", eve.2)], 1).await;
    world.sync_called(&[(1, "anna", ANNA), eve], 2).await;
    // The address in capitals, and another user name beside it.
    assert_eq!(world.sync_called(&[(1, "anna.b", "ANNA@example.com"), eve], 3).await, [ANNA]);
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna.b"));
}

/// A change that was applied is taken back, since an older user gets the name.
async fn a_contest_for_names_that_comes_to_nothing_takes_no_login_away(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (bert, eve) = ((1, "bert", "bert@example.com"), (6, ANNA, "eve@example.com"));
    world.sync_called(&[bert, (5, "anna", ANNA), (6, "eve", eve.2)], 1).await;
    world.sync_called(&[bert, (5, "anna", ANNA), eve], 2).await;
    assert_eq!(world.sync_called(&[(5, "boss", ANNA), (1, "boss", bert.2), eve], 3).await, [ANNA]);
    assert_eq!(world.signs_in(bert.2).await.as_deref(), Ok("boss"));
    assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"));
}

/// A wrong mapping takes the address away, alone or together with the other user's name.
async fn an_undo_gives_back_the_login_too(engine: Engine) {
    for takes_both in [false, true] {
        let world = World::new(&engine, 100).await;
        let eve = (2, ANNA, "eve@example.com");
        world.sync_called(&[(1, "anna", ANNA), (2, "eve", eve.2)], 1).await;
        assert_eq!(world.sync_called(&[(1, "anna", ANNA), eve], 2).await, [ANNA]);
        let other = if takes_both { (2, "eve", eve.2) } else { eve };
        world.sync_called(&[(1, "anna", "wrong@example.com"), other], 3).await;
        world.undo_newest().await;
        assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok("anna"), "{takes_both}");
        assert_eq!(world.signs_in(eve.2).await.as_deref(), Ok(ANNA), "{takes_both}");
    }
}

/// The mapping changes what is the user name; the same sync brings an entry that wants the login.
async fn a_login_that_becomes_the_other_name_of_its_user_stays_its_own(engine: Engine) {
    let (first, second) = ((1, ANNA, "a@example.com"), (1, "anna", ANNA));
    for (before, after, eve) in
        [(first, second, (2, ANNA, "eve@example.com")), (second, first, (2, "eve", ANNA))]
    {
        let world = World::new(&engine, 100).await;
        world.sync_called(&[before, (2, "eve", "eve@example.com")], 1).await;
        let taken = world.sync_called(&[after, eve], 2).await;
        assert_eq!(taken, [eve.1]);
        assert_eq!(world.signs_in(ANNA).await.as_deref(), Ok(after.1));
    }
}
