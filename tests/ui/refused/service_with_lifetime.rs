use rpc::service;

#[service]
trait Refused<'a> {}

fn main() {}
