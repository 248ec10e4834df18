use rpc::service;

#[service]
trait Refused {
    async fn method(&self, text: str, bytes: [u8]);
}

fn main() {}
