use rpc::service;

#[service(crate = "rpc")]
trait Refused {}

fn main() {}
