use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: *const u8);
}

fn main() {}
