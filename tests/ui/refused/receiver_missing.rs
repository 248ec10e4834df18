use rpc::service;

#[service]
trait Refused {
    async fn method(argument: u8);
}

fn main() {}
