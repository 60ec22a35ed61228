//! Directories and ways of reading them, at random: few names, so that people often want each
//! other's.

use proptest::prelude::*;

use crate::directory::{Crash, Directory, Person, Reading};

/// A person with names below `names`.
fn person(id: u8, names: u8) -> impl Strategy<Value = Person> {
    let mail = proptest::option::weighted(0.9, 0..names);
    let (spelling, hidden) = (0..4_u8, proptest::bool::weighted(0.1));
    (0..names, mail, any::<bool>(), proptest::bool::weighted(0.15), spelling, hidden).prop_map(
        move |(user_name, mail, changed, disabled, spelling, hidden)| Person {
            id,
            user_name,
            mail,
            title: u8::from(changed),
            disabled,
            spelling,
            hidden,
        },
    )
}

/// Directories of at most `people` people in which names may collide.
pub(crate) fn colliding(people: u8) -> impl Strategy<Value = Directory> {
    let some =
        (0..people).map(|id| proptest::option::weighted(0.7, person(id, people + 2))).collect::<Vec<_>>();
    some.prop_map(|people| people.into_iter().flatten().collect())
}

/// Directories in which nobody has another's name, and every mark is visible. Between two of them
/// names may have been swapped, or have gone round in cycles.
pub(crate) fn distinct(people: u8) -> impl Strategy<Value = Directory> {
    let names = || Just((0..people).collect::<Vec<_>>()).prop_shuffle();
    (colliding(people), names(), names()).prop_map(|(mut directory, user_names, mails)| {
        for person in &mut directory {
            person.user_name = user_names[usize::from(person.id)];
            person.mail = person.mail.map(|_| mails[usize::from(person.id)]);
            person.hidden = false;
        }
        directory
    })
}

/// The same with nobody disabled in the directory.
pub(crate) fn all_enabled(directories: impl Strategy<Value = Directory>) -> impl Strategy<Value = Directory> {
    directories.prop_map(|mut directory| {
        directory.iter_mut().for_each(|person| (person.disabled, person.hidden) = (false, false));
        directory
    })
}

pub(crate) fn reading(people: usize) -> impl Strategy<Value = Reading> {
    let crash =
        prop_oneof![(0..people).prop_map(Crash::Reading), (0..people + 4).prop_map(Crash::Reconciling)];
    (any::<u64>(), 1..=people, proptest::option::of(crash), any::<bool>())
        .prop_map(|(shuffle, batch, crash, held)| Reading { shuffle, batch, crash, held })
}
