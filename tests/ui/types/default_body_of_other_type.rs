use rpc::service;

#[service]
trait Types {
    async fn method(&self) -> String {
        5
    }
}

fn main() {}
