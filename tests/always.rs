//! What is checked of every case would be noticed: each of these cases leaves something behind, or harms somebody.

#[path = "support/always/mod.rs"]
mod always;
#[path = "support/lifecycle/partition.rs"]
mod partition;

use std::sync::Arc;
use std::time::Duration;

use always::{Always, Neighbour, bystander, resident, unused_name, worked};
use partition::{Network, Via};
use rpc::{Channel, Error, MemoryConnector, MemoryListener, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

async fn begin() -> ((), Neighbour) {
    ((), bystander().await)
}

#[test]
fn a_case_that_leaves_nothing_passes() {
    for always in [Always::in_memory(), Always::on_sockets(), Always::on_threads()] {
        always.holds(begin, async |()| {
            let task = tokio::spawn(async { vec![7_u8; 1 << 20].len() });
            assert_eq!(task.await.expect("no panic"), 1 << 20);
        });
    }
    // What takes its time may take two seconds.
    Always::in_memory().holds(begin, async |()| drop(tokio::spawn(sleep(2 * SECOND - SECOND / 10))));
    Always::on_sockets().holds(begin, async |()| drop(tokio::spawn(sleep(SECOND / 10))));
}

#[test]
fn what_is_kept_for_the_next_time_is_taken_once() {
    thread_local! {
        static KEPT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    Always::in_memory().holds(begin, async |()| KEPT.set(vec![7; 1 << 20]));
}

#[test]
#[should_panic(expected = "tasks: 1,")]
fn a_task_that_is_left_is_noticed() {
    Always::in_memory().holds(begin, async |()| drop(tokio::spawn(sleep(2 * SECOND + SECOND / 10))));
}

#[test]
#[should_panic(expected = "heap: ")]
fn memory_that_is_left_is_noticed() {
    Always::in_memory().holds(begin, async |()| std::mem::forget(vec![7_u8; 6_000]));
}

#[test]
#[should_panic(expected = "bytes were taken from the heap")]
fn memory_that_was_taken_meanwhile_is_noticed() {
    Always::in_memory().with_heap(1 << 20).holds(begin, async |()| {
        tokio::spawn(async { vec![7_u8; 1 << 20].len() }).await.expect("no panic");
    });
}

#[test]
#[should_panic(expected = "heap: ")]
fn memory_that_a_task_has_left_is_noticed() {
    Always::in_memory().holds(begin, async |()| {
        let task = tokio::spawn(async { std::mem::forget(vec![7_u8; 6_000]) });
        task.await.expect("no panic");
    });
}

#[test]
#[should_panic(expected = "descriptors: 1,")]
fn a_socket_that_is_left_is_noticed() {
    let begin = async || (TcpListener::bind("127.0.0.1:0").await.expect("a port"), bystander().await);
    Always::on_sockets().within(SECOND / 10).holds(begin, async |listener: &mut TcpListener| {
        let address = listener.local_addr().expect("an address");
        std::mem::forget(TcpStream::connect(address).await.expect("connected"));
    });
}

#[test]
#[should_panic(expected = "so many have panicked")]
fn a_panic_that_nobody_has_joined_is_noticed() {
    Always::in_memory().holds(begin, async |()| {
        let task = tokio::spawn(async { panic!("nobody is to see this") });
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
#[should_panic(expected = "so many have panicked")]
fn a_panic_on_another_thread_is_noticed() {
    Always::on_threads().holds(begin, async |()| {
        assert!(tokio::spawn(async { panic!("nobody is to see this") }).await.is_err());
    });
}

#[test]
#[should_panic(expected = "so many have panicked")]
fn panics_that_are_expected_must_come() {
    Always::in_memory().but_panics(2).holds(begin, async |()| {
        assert!(tokio::spawn(async { panic!("one") }).await.is_err());
    });
}

#[test]
#[should_panic(expected = "what was wrong")]
fn what_a_case_asserts_is_told_where_panics_are_expected() {
    Always::in_memory().but_panics(2).holds(begin, async |()| panic!("what was wrong"));
}

/// A neighbour behind a network that can be cut, and who serves it.
async fn behind_a_network() -> ((Arc<Network>, JoinHandle<Result<(), Error>>), Neighbour) {
    let (name, network) = (unused_name(), Network::new());
    let listener = Via(MemoryListener::bind(&name).expect("a name of its own"), network.clone());
    let bound = resident(Server::new()).bind(listener).await.expect("bound");
    let serving = tokio::spawn(bound.serve());
    let channel = Channel::connect(Via(MemoryConnector::new(&name), network.clone())).await;
    ((network, serving), Neighbour::new(channel.expect("connected")))
}

#[test]
#[should_panic(expected = "a neighbour waited for ")]
fn a_neighbour_who_waits_is_noticed() {
    Always::in_memory().holds(behind_a_network, async |(network, _)| {
        // For longer than the neighbour pauses between calls.
        network.cut();
        sleep(SECOND / 10).await;
        network.heal();
    });
}

#[cfg(target_os = "linux")]
#[test]
#[should_panic(expected = "a neighbour waited for ")]
fn a_neighbour_who_waits_for_the_work_of_others_is_noticed() {
    Always::in_memory().holds(begin, async |()| {
        let since = worked();
        let working = tokio::spawn(async move {
            while worked() - since < SECOND + SECOND / 5 {
                assert!(worked() > Duration::ZERO, "this system does not count it");
            }
        });
        working.await.expect("no panic");
    });
}

#[test]
#[should_panic(expected = "a neighbour is served")]
fn a_neighbour_who_is_not_served_is_noticed() {
    Always::in_memory().holds(behind_a_network, async |(_, serving)| {
        serving.abort();
        sleep(SECOND).await;
    });
}
