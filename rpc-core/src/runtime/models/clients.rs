//! Clients: the place that a handle's calls share, and the link that takes over.

use std::sync::Arc;

use super::super::blocking::Home;
use super::super::client::{Client, Handle};
use super::super::driver::Side;
use super::world::{Open, Wire, begin, block_on, flush, join, model, receive, reply, runtime, spawn};
use crate::channel::Way;
use crate::limits::Limits;
use crate::transport::{ConnectFuture, Connector};
use crate::{Address, Call, Channel, Code, Error};

/// Never asked, since the runtime of the client does not run.
struct Nowhere;

impl Connector for Nowhere {
    fn address(&self) -> Address {
        Address::new("mem://nowhere")
    }

    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(std::future::pending())
    }
}

/// Runs a scene with a client, whose links the scene opens itself.
fn with_client(scene: impl FnOnce(Arc<Client>)) {
    let runtime = runtime();
    let entered = runtime.enter();
    let home = Home::current().expect("there is a runtime");
    scene(Client::start(Arc::new(Nowhere), Arc::default(), Arc::default(), home, None));
    drop(entered);
}

fn open(handle: &Handle) -> Open {
    Open::over(handle.lease().link.clone(), Wire::new(), &Limits::default(), Side::Opened)
}

fn call(channel: &Channel) -> Call<u8> {
    channel.call("m", ())
}

#[test]
fn a_late_end_reaches_no_later_call_of_a_handle() {
    model(4, || {
        with_client(|client| {
            let handle = Handle::new(client);
            let open = open(&handle);
            let channel = Channel(Way::Remote(handle));
            let mut first = call(&channel);
            begin(&mut first);
            let (link, id) = (open.link.clone(), open.wire.calls()[0]);
            let late = spawn(move || receive(&link, &reply(id, 1)));
            drop(first);
            let mut second = call(&channel);
            begin(&mut second);
            flush(&open.link);
            receive(&open.link, &reply(open.wire.calls()[1], 2));
            assert_eq!(block_on(second).expect("a reply"), 2);
            join(late);
        });
    });
}

#[test]
fn calls_of_one_handle_get_their_own_replies() {
    model(4, || {
        with_client(|client| {
            let handle = Handle::new(client);
            let open = open(&handle);
            let channel = Channel(Way::Remote(handle));
            let mut calls = [1, 2].map(|_| call(&channel));
            calls.iter_mut().for_each(begin);
            let [first, second] = calls;
            flush(&open.link);
            let (link, ids) = (open.link.clone(), open.wire.calls());
            let replies =
                spawn(move || ids.iter().zip(1..).for_each(|(id, value)| receive(&link, &reply(*id, value))));
            // A third takes the place that the first leaves, or one more.
            assert_eq!(block_on(first).expect("a reply"), 1);
            let mut third = call(&channel);
            begin(&mut third);
            assert_eq!(block_on(second).expect("a reply"), 2);
            join(replies);
            open.link.close(Error::new(Code::Unavailable, "the connection was lost"));
        });
    });
}

#[test]
fn a_lost_link_has_one_successor_and_its_calls_go_there() {
    model(4, || {
        with_client(|client| {
            let handle = Handle::new(client);
            let lost = handle.lease();
            lost.link.close(Error::new(Code::Unavailable, "the connection was lost"));
            let channel = Channel(Way::Remote(handle.clone()));
            let callers = [channel.clone(), channel].map(|channel| {
                spawn(move || {
                    let mut call: Call<u8> = channel.call("m", ()).wait_for_ready();
                    begin(&mut call);
                    call
                })
            });
            let next = lost.successor().expect("the client is alive").link.clone();
            let calls = callers.map(join);
            assert!(Arc::ptr_eq(&next, &handle.lease().link), "there is one");
            assert_eq!(next.lock().connection.calls(), 2, "both wait there");
            drop(calls);
        });
    });
}

#[test]
fn calls_that_wait_for_a_connection_are_sent_when_it_opens() {
    model(3, || {
        with_client(|client| {
            let handle = Handle::new(client);
            let link = handle.lease().link.clone();
            let caller = Channel(Way::Remote(handle));
            let caller = spawn(move || block_on(call(&caller)));
            let wire = Wire::new();
            wire.answer(1);
            let driver = Open::over(link, wire.clone(), &Limits::default(), Side::Opened).driver;
            let task = spawn(move || block_on(driver));
            assert_eq!(join(caller).expect("a reply"), 1);
            wire.end();
            join(task);
        });
    });
}
