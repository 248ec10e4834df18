use rpc::service;

#[service]
trait Refused {
    type Key;
}

fn main() {}
