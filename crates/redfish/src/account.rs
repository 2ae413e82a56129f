//! The password of the account that we use: a new machine comes with one that is printed on a label.

use crate::address::Password;
use crate::client::Client;
use crate::error::Error;
use crate::path::Path;
use crate::walk::Walk;
use http::Method;
use serde_json::json;

impl Client {
    /// Sets the password of the BMC's account `user`. This client goes on with the old one: make a new client.
    ///
    /// If we crash between the BMC's doing and the caller's writing down, the new password is in no store. So the caller stores
    /// it first, as the one to be tried second, and only then calls this.
    pub async fn change_password(&self, user: &str, new: &Password) -> Result<(), Error> {
        let walk = Walk::new(self);
        let root = walk.root().await?;
        let cannot = || Error::Unsupported("change passwords".to_owned());
        let service = self.link(&root, "AccountService", &Path::root())?.ok_or_else(cannot)?;
        let resource = walk.get(&service).await?;
        let accounts = walk.linked(&resource, "Accounts", &service).await?;
        let account = accounts.into_iter().find(|(_, account)| account["UserName"] == user);
        let (path, _) = account.ok_or_else(|| Error::Unsupported(format!("find an account {user:?}")))?;
        self.send(&Method::PATCH, &path, &json!({ "Password": new.as_str() })).await?;
        Ok(())
    }
}
