use rpc::service;

#[derive(serde::Serialize, serde::Deserialize)]
struct Point;

#[service]
trait Types {
    async fn method(&self, #[rpc(default)] argument: Point);
}

fn main() {}
