//! A server on a port of its own.

/// Serves on a port that the system chooses, until the test's runtime ends; gives its address.
pub(crate) async fn serve(server: rpc::Server) -> String {
    let bound = server.bind("tcp://127.0.0.1:0").await.expect("the loopback interface has a free port");
    let address = bound.local_addr().to_string();
    tokio::spawn(bound.serve());
    address
}
