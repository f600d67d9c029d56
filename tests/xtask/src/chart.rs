//! The chart as Helm renders it. The renderings are committed, since building Helm takes minutes: tests judge them, and
//! fail where they are not of the chart as it is.

use crate::run::{Result, command, files, finish, output, root, succeeds};
use std::fs;
use std::path::PathBuf;

const CHART: &str = "deploy/helm/mailroom";
/// Files of values, beside those of the chart, and where what they make is kept.
const RENDERINGS: [(&str, &str); 2] = [
    ("deploy/helm/mailroom/values.yaml", "deploy/helm/rendered/defaults.yaml"),
    (EXAMPLE, "deploy/helm/rendered/example.yaml"),
];
const DASHBOARDS: &str = "deploy/helm/mailroom/files/dashboards/";
const EXAMPLE: &str = "deploy/helm/example.yaml";
/// Helm as the Go module that it is.
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";
/// A Helm that was built from its module believes in an older one.
const KUBERNETES: &str = "1.34.0";

/// Lints the chart and renews its renderings.
pub(crate) fn renew() -> Result {
    let helm = helm()?.to_string_lossy().into_owned();
    let sources = sources()?;
    for (values, rendering) in RENDERINGS {
        finish(command(&helm, &["lint", "--strict", "--quiet", CHART, "--values", values])?)?;
        let options = ["--kube-version", KUBERNETES, "--namespace", "shop", "--values", values];
        let mut template = command(&helm, &["template", "mailroom", CHART])?;
        template.args(options);
        let text = output(template)?;
        fs::write(root()?.join(rendering), format!("# By `cargo xtask chart`, of\n{sources}{text}"))?;
        println!("{rendering}: {} lines", text.lines().count());
    }
    Ok(())
}

/// The sums of the chart's files, a comment each; of dashboards nothing is in the renderings.
fn sources() -> Result<String> {
    let is_rendered = |path: &String| {
        let of_chart = path.starts_with(&format!("{CHART}/")) && !path.starts_with(DASHBOARDS);
        of_chart || path == EXAMPLE
    };
    let mut of_chart: Vec<String> = files()?.into_iter().filter(is_rendered).collect();
    of_chart.sort_unstable();
    let mut sums = command("sha256sum", &["--"])?;
    sums.args(of_chart);
    Ok(output(sums)?.lines().map(|line| format!("# {line}\n")).collect())
}

/// Helm on the search path, else one in the target folder.
fn helm() -> Result<PathBuf> {
    if succeeds("helm", &["version"]) {
        return Ok("helm".into());
    }
    let folder = root()?.join("target/helm");
    let program = folder.join("helm");
    if !program.exists() {
        println!("Building Helm into {}, which takes minutes", folder.display());
        let mut install = command("go", &["install", HELM])?;
        install.env("GOBIN", &folder);
        finish(install)?;
    }
    Ok(program)
}
