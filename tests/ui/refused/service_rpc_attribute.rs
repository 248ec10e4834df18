use rpc::service;

#[service]
#[rpc(idempotent)]
trait Refused {}

fn main() {}
