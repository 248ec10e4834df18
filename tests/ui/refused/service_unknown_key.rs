use rpc::service;

#[service(nmae = "a")]
trait Refused {}

fn main() {}
