use rpc::service;

#[service]
trait Refused {
    fn method(&self) -> u8;
}

fn main() {}
