/// Everything that can be said of a service.
#[service(name = "jobs.v2", crate = crate::reexported::rpc, compact, spawn)]
#[cfg(feature = "jobs")]
#[deprecated = "use `Tasks`"]
#[cfg_attr(docsrs, doc(alias = "work"), diagnostic::on_unimplemented(message = "not a job server"))]
#[expect(missing_docs)]
pub trait Jobs {
    #[rpc(name = "run", alias = "start", alias = "begin", idempotent, no_cancel)]
    #[allow(clippy::too_many_arguments)]
    async fn launch(
        &self,
        r#type: Kind,
        Handler: Option<&str>,
        payload: &[u8],
        options: &Options,
        #[rpc(default)] priority: u8,
        #[rpc(default)]
        #[cfg(feature = "tags")]
        tags: Vec<String>,
    ) -> Result<Id, JobError>;
    /// Documented, and gone one day.
    #[deprecated]
    #[rpc(inline)]
    async fn r#loop(&self) -> u64;
    #[cfg(unix)]
    #[rpc(oneway)]
    async fn signal(&self, id: Id, signal: i32);
    #[cfg(not(unix))]
    #[rpc(oneway)]
    async fn signal(&self, id: Id);
    #[cfg_attr(feature = "slow", cfg(test))]
    async fn ping(&self) -> () {}
}
