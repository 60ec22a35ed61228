//! A full disk refuses writes, keeps what was there, lets everybody read, and is forgotten as soon
//! as there is space.

use control_plane::store::{self, StoreError};
use harness::SmallDisk;

use crate::database::{NOW, admin, block_on};
use crate::trouble::{Site, people};

#[test]
fn a_full_disk_refuses_whole_batches_and_lets_everybody_read_until_there_is_space_again() {
    let Some(disk) = SmallDisk::mount(2_048).expect("a disk") else { return };
    let url = format!("sqlite://{}/rollcall.db", disk.path().display());
    block_on(async {
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let job = site.job("hq").await;
        let fence = site.begin(job).await.expect("a read").fence;
        let mut batches = 0;
        for round in 0..3 {
            let refused = loop {
                match site.apply(fence, people(fence.tenant, batches * 50..batches * 50 + 50)).await {
                    Ok(_) => batches += 1,
                    Err(error) => break error,
                }
            };
            assert!(matches!(refused, StoreError::Full(_)), "round {round}: {refused:?}");
            assert_eq!(site.users().await, batches as usize * 50, "whole batches only, and they can be read");
            let license = site.store.license(&site.tenant).await.expect("a license");
            assert_eq!(license.used, i64::from(batches) * 50);
            let again = site.apply(fence, people(fence.tenant, batches * 50..batches * 50 + 50)).await;
            assert!(matches!(again, Err(StoreError::Full(_))), "no other trouble follows: {again:?}");
            disk.resize(2_048 * (round + 2)).expect("a larger disk");
        }
        site.store.set_license_limit(&site.tenant, 7, false, &admin(), NOW).await.expect("writes go on");
        let counts = site.finish(fence).await.counts;
        assert_eq!(counts.added, i64::from(batches) * 50);
        assert!(batches > 3, "each round wrote something: {batches}");
    });
}
