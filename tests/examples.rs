//! The examples do what they say.

#[path = "support/example.rs"]
mod example;

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Runs an example to its end, and gives what it printed.
async fn run(name: &str) -> String {
    let mut command = Command::new(example::program(name));
    let output = timeout(Duration::from_secs(60), command.kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_elapsed| panic!("{name} did not end")).expect("it was started");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[tokio::test]
async fn the_station_streams_both_ways_and_stops_when_nobody_listens() {
    let expected = "\
it has 20 degrees
it has 20.1 degrees
it has 20.2 degrees
  server: nobody wants temperatures any more, so I stop measuring
on day 13 it had 10 degrees
on day 13 it had 10.5 degrees
then the sensor failed, at 2 o'clock
there is no day 400, and no stream
the barn sent 100000 samples, 49999.5 on average
smoothed: 10
smoothed: 15
smoothed: 30
a picture of 16 MiB, and 1 sample from the shed
";
    assert_eq!(run("streams").await, expected);
}

#[tokio::test]
async fn in_the_chat_everybody_hears_everything_and_nobody_is_disturbed_by_one_that_is_killed() {
    let expected = "\
A server and its clients, each in a process of its own. What each client's screen shows:

ann           ann has joined
ann bob       bob has joined
ann bob cy    cy has joined
ann bob cy    ann: hello
ann bob cy    cy: hello ann

The process of cy is killed.

ann bob       cy has left
ann bob       bob: where is cy?

ann comes to the end of her input, and her process to its own.

bob           ann has left
bob           bob: good night
";
    assert_eq!(run("chat").await, expected);
}
