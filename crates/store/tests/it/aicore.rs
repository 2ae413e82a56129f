//! What clients of SAP's AI Core make in a project.

use crate::Bed;
use crate::site::*;
use store::{AicoreConfiguration, AicoreDeployment, AicoreGroup, Allowed, Made, Store, StoreError};
use tokio::task::JoinSet;
use types::{ConfigurationId, DeploymentId, ProjectId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const LATER: UnixMillis = UnixMillis(1_790_000_060_000);
const MINE: ProjectId = ProjectId(1);
const THEIRS: ProjectId = ProjectId(2);

async fn projects(bed: &Bed) -> Store {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    for id in [1, 2] {
        store.project_create(&project(id, 1), &entry("project.create")).await.unwrap();
    }
    store
}

fn group(name: &str) -> AicoreGroup {
    AicoreGroup { name: name.to_owned(), labels: "[]".to_owned(), created_at: NOW }
}

fn configuration(id: u128) -> AicoreConfiguration {
    AicoreConfiguration {
        id: ConfigurationId(id),
        name: "c".to_owned(),
        executable: "orchestration".to_owned(),
        parameters: r#"[["modelName","m"]]"#.to_owned(),
        created_at: NOW,
    }
}

fn deployment(id: u128) -> AicoreDeployment {
    AicoreDeployment {
        id: DeploymentId(id),
        configuration: ConfigurationId(1),
        target: "RUNNING".to_owned(),
        updated: false,
        created_at: NOW,
        modified_at: NOW,
    }
}

pub async fn groups_hold_what_is_made_in_them(bed: &Bed) {
    let store = projects(bed).await;
    assert_eq!(store.aicore_group_create(MINE, &group("one"), 9).await.unwrap(), Made::Yes);
    for doubled in ["one", "default"] {
        let error = store.aicore_group_create(MINE, &group(doubled), 9).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    store.aicore_group_label(MINE, "one", "[1]").await.unwrap();
    assert_eq!(store.aicore_group(MINE, "one").await.unwrap().unwrap().labels, "[1]");
    // Another project's groups are not there.
    assert!(store.aicore_groups(THEIRS).await.unwrap().is_empty());
    let error = store.aicore_configuration_create((THEIRS, "one"), &configuration(1), 9).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    for (id, place) in [(1, (MINE, "default")), (2, (MINE, "one")), (3, (THEIRS, "default"))] {
        assert_eq!(store.aicore_configuration_create(place, &configuration(id), 9).await.unwrap(), Made::Yes);
        assert_eq!(store.aicore_deployment_create(place, &deployment(id), 9).await.unwrap(), Made::Yes);
    }
    assert_eq!(store.aicore_configurations((MINE, "one")).await.unwrap(), [configuration(2)]);
    assert_eq!(store.aicore_deployments((MINE, "one")).await.unwrap(), [deployment(2)]);
    assert_eq!(store.aicore_configuration((MINE, "default"), ConfigurationId(2)).await.unwrap(), None);
    assert_eq!(store.aicore_deployment((THEIRS, "default"), DeploymentId(1)).await.unwrap(), None);
    store.aicore_group_delete(MINE, "one").await.unwrap();
    assert_eq!(store.aicore_configurations((MINE, "one")).await.unwrap(), []);
    assert_eq!(store.aicore_deployments((MINE, "one")).await.unwrap(), []);
    assert_eq!(store.aicore_deployments((MINE, "default")).await.unwrap(), [deployment(1)]);
    let error = store.aicore_group_delete(MINE, "one").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

/// Twenty at once for ten places: ten are made, whoever they are.
pub async fn a_limit_holds_at_its_edge(bed: &Bed) {
    let store = projects(bed).await;
    let mut tasks = JoinSet::new();
    for id in 1..=20 {
        let store = store.clone();
        tasks.spawn(async move { store.aicore_deployment_create((MINE, "default"), &deployment(id), 10).await });
    }
    let made = tasks.join_all().await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().unwrap() == Made::Yes).count(), 10);
    assert_eq!(store.aicore_deployments((MINE, "default")).await.unwrap().len(), 10);
    // The limit is each project's own.
    assert_eq!(store.aicore_deployment_create((THEIRS, "default"), &deployment(99), 10).await.unwrap(), Made::Yes);
    assert_eq!(store.aicore_group_create(MINE, &group("one"), 0).await.unwrap(), Made::AtLimit);
    let at_limit = store.aicore_configuration_create((MINE, "default"), &configuration(1), 0).await.unwrap();
    assert_eq!(at_limit, Made::AtLimit);
}

pub async fn only_what_is_stopped_is_deleted(bed: &Bed) {
    let store = projects(bed).await;
    let (mine, theirs, id) = ((MINE, "default"), (THEIRS, "default"), DeploymentId(1));
    store.aicore_deployment_create(mine, &deployment(1), 9).await.unwrap();
    assert_eq!(store.aicore_deployment_delete(mine, id).await.unwrap(), Allowed::NotInThisState);
    let other = ConfigurationId(7);
    assert_eq!(store.aicore_deployment_configure(mine, id, other, LATER).await.unwrap(), Allowed::Yes);
    for error in [
        store.aicore_deployment_delete(theirs, id).await.unwrap_err(),
        store.aicore_deployment_stop(theirs, id, LATER).await.unwrap_err(),
        store.aicore_deployment_configure(theirs, id, other, LATER).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
    store.aicore_deployment_stop(mine, id, LATER).await.unwrap();
    let stopped = store.aicore_deployment(mine, id).await.unwrap().unwrap();
    let expect = AicoreDeployment {
        configuration: other,
        target: "STOPPED".to_owned(),
        updated: true,
        modified_at: LATER,
        ..deployment(1)
    };
    assert_eq!(stopped, expect);
    assert_eq!(store.aicore_deployment_configure(mine, id, other, LATER).await.unwrap(), Allowed::NotInThisState);
    assert_eq!(store.aicore_deployment_delete(mine, id).await.unwrap(), Allowed::Yes);
    assert_eq!(store.aicore_deployment(mine, id).await.unwrap(), None);
}
