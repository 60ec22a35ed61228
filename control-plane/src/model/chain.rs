//! Follows the chain of a trail link by link, and says where it is broken. Pure: who reads the
//! events decides how many at a time.

use super::{AuditEvent, AuditHead, Trail};

/// What is wrong with a trail, and where. The message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Its hash is not that of what it says, of its number, and of the event before it.
    #[error("event {0} was changed, or does not belong there")]
    Changed(i64),
    /// The next one has a higher number.
    #[error("event {0} is missing")]
    Missing(i64),
    /// No event has a number below 1.
    #[error("there is an event {0}, before the first")]
    Moved(i64),
    /// The database says nothing usable about which event is the newest.
    #[error("the head of the trail is missing")]
    NoHead,
    /// The database says that another event is the newest.
    #[error("the head of the trail names event {said} in a way that does not fit the newest event, {found}")]
    Head {
        /// What the head says.
        said: i64,
        /// The newest event.
        found: i64,
    },
    /// The events end before the newest.
    #[error("the events after {found} are missing: event {said} is the newest")]
    Cut {
        /// The newest event that there was.
        said: i64,
        /// The newest event that there is.
        found: i64,
    },
    /// It has another hash than somebody outside has written down.
    #[error("event {0} is another one than was written down outside: the trail was made anew")]
    Forked(i64),
    /// There is no tenant that the trail could be of.
    #[error("the tenant of the trail is missing")]
    NoTenant,
}

/// A trail, followed from its first event on.
#[derive(Debug)]
pub struct Chain {
    trail: Trail,
    /// The last event that was followed.
    last: AuditHead,
    /// Heads that were written down outside, by their sequence numbers.
    outside: Vec<AuditHead>,
}

impl Chain {
    /// Before the first event. `outside` are heads of the trail that somebody wrote down at some
    /// time.
    #[must_use]
    pub fn new(trail: Trail, outside: Vec<AuditHead>) -> Self {
        Self { trail, last: AuditHead::default(), outside }
    }

    /// The newest event so far.
    #[must_use]
    pub fn last(&self) -> AuditHead {
        self.last
    }

    /// Takes the next row of the trail; none stands for one that cannot be an event.
    ///
    /// # Errors
    /// If it is not the next link.
    pub fn follow(&mut self, event: Option<&AuditEvent>) -> Result<(), Broken> {
        let next = self.last.sequence + 1;
        let event = event.ok_or(Broken::Changed(next))?;
        if event.sequence < next {
            return Err(Broken::Moved(event.sequence));
        }
        if event.sequence > next {
            return Err(Broken::Missing(next));
        }
        if event.link(&self.trail, &self.last.hash) != event.hash {
            return Err(Broken::Changed(next));
        }
        self.last = AuditHead { sequence: next, hash: event.hash };
        let forked = |head: &AuditHead| head.sequence == next && head.hash != event.hash;
        if self.outside.iter().any(forked) { Err(Broken::Forked(next)) } else { Ok(()) }
    }

    /// Compares the end with what the database calls the newest event, and with the heads from
    /// outside.
    ///
    /// # Errors
    /// If there should be other events, or more of them.
    pub fn end(&self, head: Option<AuditHead>) -> Result<(), Broken> {
        let found = self.last.sequence;
        let head = head.ok_or(Broken::NoHead)?;
        if head.sequence > found {
            return Err(Broken::Cut { said: head.sequence, found });
        }
        if head != self.last {
            return Err(Broken::Head { said: head.sequence, found });
        }
        match self.outside.iter().map(|head| head.sequence).max() {
            Some(said) if said > found => Err(Broken::Cut { said, found }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Timestamp};

    fn trail() -> Trail {
        Trail::Tenant("acme".into())
    }

    fn events(many: i64) -> Vec<AuditEvent> {
        let mut before = [0; 32];
        let event = |sequence| {
            let mut event = AuditEvent {
                sequence,
                time: Timestamp(sequence),
                actor: Actor::system(),
                kind: 300,
                outcome: 1,
                subject: format!("subject {sequence}"),
                details: "{}".to_owned(),
                hash: [0; 32],
            };
            event.hash = event.link(&trail(), &before);
            before = event.hash;
            event
        };
        (1..=many).map(event).collect()
    }

    fn verify(events: &[AuditEvent], head: Option<AuditHead>, outside: Vec<AuditHead>) -> Result<(), Broken> {
        let mut chain = Chain::new(trail(), outside);
        events.iter().try_for_each(|event| chain.follow(Some(event)))?;
        chain.end(head)
    }

    fn head(events: &[AuditEvent]) -> AuditHead {
        events
            .last()
            .map_or(AuditHead::default(), |last| AuditHead { sequence: last.sequence, hash: last.hash })
    }

    #[test]
    fn a_trail_as_it_was_written_is_sound() {
        for many in [0, 1, 5] {
            let events = events(many);
            assert_eq!(verify(&events, Some(head(&events)), vec![head(&events)]), Ok(()));
        }
    }

    #[test]
    fn each_break_is_named_with_its_place() {
        let whole = events(5);
        let newest = Some(head(&whole));
        let mut changed = whole.clone();
        changed[2].actor.name = "admins/mallory".to_owned();
        assert_eq!(verify(&changed, newest, Vec::new()), Err(Broken::Changed(3)));
        let mut removed = whole.clone();
        removed.remove(1);
        assert_eq!(verify(&removed, newest, Vec::new()), Err(Broken::Missing(2)));
        let mut early = whole.clone();
        early[0].sequence = 0;
        assert_eq!(verify(&early, newest, Vec::new()), Err(Broken::Moved(0)));
        let cut = &whole[..3];
        assert_eq!(verify(cut, newest, Vec::new()), Err(Broken::Cut { said: 5, found: 3 }));
        assert_eq!(verify(&whole, Some(head(cut)), Vec::new()), Err(Broken::Head { said: 3, found: 5 }));
        assert_eq!(verify(&whole, None, Vec::new()), Err(Broken::NoHead));
    }

    #[test]
    fn a_tail_that_is_cut_with_its_head_is_found_by_a_head_from_outside_and_by_nothing_else() {
        let whole = events(5);
        let cut = &whole[..3];
        assert_eq!(verify(cut, Some(head(cut)), Vec::new()), Ok(()));
        let outside = vec![head(&whole)];
        assert_eq!(verify(cut, Some(head(cut)), outside.clone()), Err(Broken::Cut { said: 5, found: 3 }));
        // Made anew from its third event on, and as long as before.
        let mut anew = whole.clone();
        for at in 2..5 {
            anew[at].subject = "another".to_owned();
            anew[at].hash = anew[at].link(&trail(), &anew[at - 1].hash);
        }
        assert_eq!(verify(&anew, Some(head(&anew)), Vec::new()), Ok(()));
        assert_eq!(verify(&anew, Some(head(&anew)), outside), Err(Broken::Forked(5)));
    }
}
