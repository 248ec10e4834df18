use rpc::service;

#[service]
#[service]
trait Refused {}

fn main() {}
