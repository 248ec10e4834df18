use rpc::service;

#[service]
trait Refused {
    async fn method(&self, #[rpc(defualt)] argument: u8);
}

fn main() {}
