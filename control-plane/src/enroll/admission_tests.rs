//! Properties: machines that connect, renew, recover, lose answers and are copied, in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000_000);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// What the store keeps of one router.
#[derive(Clone, Debug)]
struct Book {
    status: RouterStatus,
    keys: BTreeMap<u32, i64>,
    next_key: u32,
}

/// A machine with a router's key, and a connection if it has one.
#[derive(Clone, Debug)]
struct Machine {
    key: u32,
    generation: i64,
    connection: Option<Connection>,
}

#[derive(Clone, Debug)]
struct Connection {
    key: u32,
    renewed: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Renew { answered: bool },
    Recover { answered: bool },
    Disconnect,
}

impl Book {
    fn enrolled() -> (Self, Machine) {
        let status =
            RouterStatus { state: RouterState::Active, newest: 1, confirmed: 1, enrolled: 1, recoveries: 0 };
        let book = Self { status, keys: BTreeMap::from([(1, 1)]), next_key: 2 };
        (book, Machine { key: 1, generation: 1, connection: None })
    }

    fn certificate(&self, key: u32, renewed: Option<i64>) -> Certificate {
        Certificate { generation: self.keys.get(&key).copied(), renewed }
    }

    fn apply(&mut self, decision: AdmissionDecision) -> Result<(), AdmissionDecision> {
        match decision {
            AdmissionDecision::Admit(confirmed) => self.status.confirmed = confirmed,
            AdmissionDecision::Cloned => self.status.state = RouterState::Suspended,
            AdmissionDecision::Deny(_) => {}
        }
        decision.admitted().map(|_| ())
    }

    fn connect(&mut self, machine: &mut Machine) -> Result<(), AdmissionDecision> {
        let decision = check_certificate(&self.status, self.certificate(machine.key, None));
        self.apply(decision)?;
        machine.connection = Some(Connection { key: machine.key, renewed: None });
        Ok(())
    }

    fn issue(&mut self, (issue, confirmed): (Issue, i64)) -> (u32, i64) {
        let (Issue::Next(generation) | Issue::Again(generation)) = issue;
        let key = self.next_key;
        self.next_key += 1;
        self.keys.insert(key, generation);
        self.status.newest = generation;
        self.status.confirmed = confirmed;
        (key, generation)
    }

    fn renew(&mut self, machine: &mut Machine, answered: bool) -> Result<(), AdmissionDecision> {
        let Some(connection) = machine.connection.clone() else { return Ok(()) };
        let certificate = self.certificate(connection.key, connection.renewed);
        match renewal(&self.status, certificate, Some(machine.generation), None) {
            Ok(issued) => {
                let (key, generation) = self.issue(issued);
                self.status.recoveries = 0;
                machine.connection = Some(Connection { renewed: Some(generation), ..connection });
                if answered {
                    (machine.key, machine.generation) = (key, generation);
                }
                Ok(())
            }
            Err(decision) => self.apply(decision),
        }
    }

    fn recover(&mut self, machine: &mut Machine, answered: bool) -> Result<(), AdmissionDecision> {
        machine.connection = None;
        let generation = self.keys.get(&machine.key).copied();
        match recovery(&self.status, generation, None, NOW, MONTH, NOW) {
            Ok(issued) => {
                let (key, generation) = self.issue(issued);
                self.status.recoveries += 1;
                if answered {
                    (machine.key, machine.generation) = (key, generation);
                }
                Ok(())
            }
            Err(decision) => self.apply(decision),
        }
    }

    fn step(&mut self, machine: &mut Machine, step: Step) -> Result<(), AdmissionDecision> {
        match step {
            Step::Connect => self.connect(machine),
            Step::Renew { answered } => self.renew(machine, answered),
            Step::Recover { answered } => self.recover(machine, answered),
            Step::Disconnect => {
                machine.connection = None;
                Ok(())
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Connect),
        4 => any::<bool>().prop_map(|answered| Step::Renew { answered }),
        1 => any::<bool>().prop_map(|answered| Step::Recover { answered }),
        1 => Just(Step::Disconnect),
    ]
}

proptest! {
    #[test]
    fn one_machine_is_never_taken_for_two_whatever_answers_get_lost(steps in prop::collection::vec(step(), 1..60)) {
        let (mut book, mut machine) = Book::enrolled();
        for step in steps {
            match book.step(&mut machine, step) {
                Ok(()) | Err(AdmissionDecision::Deny(Refusal::RecoveriesSpent)) => {}
                other => prop_assert!(false, "{step:?}: {other:?}; {book:?} {machine:?}"),
            }
        }
        prop_assert_eq!(book.connect(&mut machine), Ok(()));
    }

    #[test]
    fn two_machines_are_found_by_the_time_that_both_have_renewed_and_connected(
        before in prop::collection::vec(step(), 0..20),
        after in prop::collection::vec((any::<bool>(), step()), 0..20),
        first_renews in any::<bool>(),
    ) {
        let (mut book, mut original) = Book::enrolled();
        for step in before {
            let _ = book.step(&mut original, step);
        }
        let mut copy = Machine { connection: None, ..original.clone() };
        for (of_copy, step) in after {
            let _ = book.step(if of_copy { &mut copy } else { &mut original }, step);
        }
        // Each moves on: a renewal that is answered, on a new connection, and a connection with
        // what it was given.
        let (mut first, mut second) = if first_renews { (original, copy) } else { (copy, original) };
        for machine in [&mut first, &mut second] {
            let _ = book.connect(machine);
            let _ = book.renew(machine, true);
            machine.connection = None;
            let _ = book.connect(machine);
        }
        let _ = book.connect(&mut first);
        prop_assert_eq!(book.status.state, RouterState::Suspended, "{:?} {:?}", first, second);
    }

    #[test]
    fn at_most_one_machine_is_let_in_from_the_moment_when_one_has_shown_what_the_other_has_not(
        moves in prop::collection::vec((any::<bool>(), step()), 1..40),
    ) {
        let (mut book, original) = Book::enrolled();
        let mut machines = [Machine { connection: None, ..original.clone() }, original];
        for (which, step) in moves {
            let _ = book.step(&mut machines[usize::from(which)], step);
            let mut let_in = Vec::new();
            for machine in &machines {
                let mut asked = (book.clone(), machine.clone());
                if asked.0.connect(&mut asked.1).is_ok() {
                    let_in.push(asked.1.generation);
                }
            }
            // Both only as long as one of them has shown no certificate newer than the other's.
            if let [one, other] = let_in[..] {
                prop_assert!(one.min(other) >= book.status.confirmed);
            }
        }
    }

    #[test]
    fn an_old_certificate_is_refused_plainly_after_a_new_enrollment(
        steps in prop::collection::vec(step(), 0..20),
    ) {
        let (mut book, mut machine) = Book::enrolled();
        for step in steps {
            let _ = book.step(&mut machine, step);
        }
        let newest = book.status.newest + 1;
        book.status = RouterStatus { newest, confirmed: newest, enrolled: newest, ..book.status };
        prop_assert_eq!(book.connect(&mut machine), Err(AdmissionDecision::Deny(Refusal::KeyReplaced)));
        prop_assert_eq!(book.status.state, RouterState::Active);
    }
}

fn status() -> RouterStatus {
    RouterStatus { state: RouterState::Active, newest: 5, confirmed: 5, enrolled: 1, recoveries: 0 }
}

#[test]
fn a_router_recovers_three_times_in_a_row_within_a_month_and_not_before_its_certificate_ends() {
    let recover = |recoveries, expired_at| {
        recovery(&RouterStatus { recoveries, ..status() }, Some(5), None, expired_at, MONTH, NOW)
    };
    assert_eq!(recover(2, NOW), Ok((Issue::Next(6), 5)));
    assert_eq!(recover(3, NOW), Err(AdmissionDecision::Deny(Refusal::RecoveriesSpent)));
    assert_eq!(recover(0, NOW.minus(MONTH)), Ok((Issue::Next(6), 5)));
    let too_long = MONTH + Duration::from_micros(1);
    assert_eq!(recover(0, NOW.minus(too_long)), Err(AdmissionDecision::Deny(Refusal::TooLate)));
    assert_eq!(recover(0, NOW.plus(ABOUT_TO_EXPIRE)), Ok((Issue::Next(6), 5)));
    let early = ABOUT_TO_EXPIRE + Duration::from_micros(1);
    assert_eq!(recover(0, NOW.plus(early)), Err(AdmissionDecision::Deny(Refusal::NotExpired)));
}

#[test]
fn the_same_request_again_is_the_same_certificate_and_costs_no_recovery() {
    let unconfirmed = RouterStatus { newest: 6, recoveries: 3, ..status() };
    let shown = Certificate { generation: Some(5), renewed: None };
    assert_eq!(renewal(&unconfirmed, shown, None, Some(6)), Ok((Issue::Again(6), 5)));
    assert_eq!(recovery(&unconfirmed, Some(5), Some(6), NOW, MONTH, NOW), Ok((Issue::Again(6), 5)));
    let not_new = Err(AdmissionDecision::Deny(Refusal::KeyNotNew));
    assert_eq!(renewal(&unconfirmed, shown, None, Some(5)), not_new, "an older key");
    assert_eq!(renewal(&status(), shown, None, Some(5)), not_new, "its own key");
}

#[test]
fn a_code_is_good_until_its_end_for_one_key() {
    let open = CodeStatus { expires_at: NOW, used_key: None, voided: false };
    let used = CodeStatus { used_key: Some([1; 32]), ..open };
    assert_eq!(code(open, [1; 32], NOW), Ok(CodeUse::First));
    assert_eq!(code(used, [1; 32], NOW), Ok(CodeUse::Again));
    assert_eq!(code(used, [2; 32], NOW), Err(Refusal::CodeUsed));
    assert_eq!(code(open, [1; 32], Timestamp(NOW.0 + 1)), Err(Refusal::CodeExpired));
    assert_eq!(code(used, [1; 32], Timestamp(NOW.0 + 1)), Err(Refusal::CodeExpired));
    assert_eq!(code(CodeStatus { voided: true, ..open }, [1; 32], NOW), Err(Refusal::CodeVoided));
}

#[test]
fn who_was_revoked_or_suspended_stays_out_whatever_it_shows() {
    for (state, refusal) in
        [(RouterState::Revoked, Refusal::RouterRevoked), (RouterState::Suspended, Refusal::RouterSuspended)]
    {
        for generation in [None, Some(0), Some(4), Some(5), Some(9)] {
            let certificate = Certificate { generation, renewed: Some(5) };
            let decision = check_certificate(&RouterStatus { state, ..status() }, certificate);
            assert_eq!(decision, AdmissionDecision::Deny(refusal));
        }
    }
}
