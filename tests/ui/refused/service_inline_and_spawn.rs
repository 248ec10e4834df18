use rpc::service;

#[service(inline, spawn)]
trait Refused {}

fn main() {}
