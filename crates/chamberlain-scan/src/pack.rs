//! The shapes of other providers' tokens, from what the providers document. One row a kind.

use Class::{Alnum, Alpha, Base64, Digit, Dotted, Hex, Upper, Word};
use Part::{Is, Run, Secret};

use crate::rule::Confidence::{High, Low, Medium};
use crate::rule::Family;
use crate::rule::Severity::{self, Critical};
use crate::shape::{Class, Part, Shape};

macro_rules! shapes {
    ($($id:literal $provider:literal $title:literal $family:ident $severity:ident $confidence:ident
       [$($prefix:literal),+] [$($part:expr),+];)+) => {
        /// All shapes.
        pub(crate) const SHAPES: &[Shape] = &[$(Shape {
            id: $id,
            title: $title,
            provider: $provider,
            family: Family::$family,
            severity: $severity,
            prefixes: &[$($prefix),+],
            parts: &[$($part),+],
            confidence: $confidence,
        }),+];
    };
}

use Severity::{High as Serious, Low as Minor, Medium as Narrow};

shapes! {
    "openai-key" "OpenAI" "OpenAI key" Ai Critical High
        ["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"] [Secret(Word, 40, 220)];
    "openrouter-key" "OpenRouter" "OpenRouter key" Ai Serious High
        ["sk-or-v1-"] [Secret(Hex, 64, 64)];
    "huggingface-token" "Hugging Face" "Hugging Face token" Ai Serious High
        ["hf_"] [Secret(Alpha, 34, 34)];
    "groq-key" "Groq" "Groq key" Ai Serious High ["gsk_"] [Secret(Alnum, 52, 52)];
    "xai-key" "xAI" "xAI key" Ai Serious High ["xai-"] [Secret(Alnum, 80, 80)];
    "perplexity-key" "Perplexity" "Perplexity key" Ai Serious High
        ["pplx-"] [Secret(Alnum, 48, 48)];
    "replicate-token" "Replicate" "Replicate token" Ai Serious High
        ["r8_"] [Secret(Alnum, 37, 37)];
    "langsmith-key" "LangSmith" "LangSmith key" Ai Narrow High
        ["lsv2_pt_", "lsv2_sk_"] [Secret(Hex, 32, 32), Is("_"), Secret(Hex, 10, 10)];
    "google-api-key" "Google" "Google API key" Cloud Serious High
        ["AIza"] [Secret(Word, 35, 35)];
    "google-oauth-secret" "Google" "Google OAuth client secret" Cloud Serious High
        ["GOCSPX-"] [Secret(Word, 28, 28)];
    "aws-access-key-id" "AWS" "AWS access key id" Cloud Narrow Medium
        ["AKIA", "ASIA"] [Secret(Upper, 16, 16)];
    "digitalocean-token" "DigitalOcean" "DigitalOcean token" Cloud Critical High
        ["dop_v1_", "doo_v1_", "dor_v1_"] [Secret(Hex, 64, 64)];
    "vault-token" "HashiCorp" "Vault token" Cloud Critical Medium
        ["hvs.", "hvb."] [Secret(Word, 90, 300)];
    "databricks-token" "Databricks" "Databricks token" Cloud Critical High
        ["dapi"] [Secret(Hex, 32, 32)];
    "doppler-token" "Doppler" "Doppler token" Cloud Critical High
        ["dp.pt.", "dp.st.", "dp.sa.", "dp.ct."] [Secret(Alnum, 40, 60)];
    "supabase-token" "Supabase" "Supabase access token" Cloud Critical High
        ["sbp_"] [Secret(Hex, 40, 40)];
    "planetscale-token" "PlanetScale" "PlanetScale token" Cloud Serious High
        ["pscale_tkn_", "pscale_pw_", "pscale_oauth_"] [Secret(Dotted, 32, 64)];
    "tailscale-key" "Tailscale" "Tailscale key" Cloud Critical High
        ["tskey-auth-", "tskey-api-", "tskey-client-"]
        [Secret(Alnum, 12, 24), Is("-"), Secret(Alnum, 21, 40)];
    "github-token" "GitHub" "GitHub token" Code Critical High
        ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"] [Secret(Alnum, 36, 36)];
    "github-fine-grained-token" "GitHub" "GitHub fine-grained token" Code Critical High
        ["github_pat_"] [Secret(Alnum, 22, 22), Is("_"), Secret(Alnum, 59, 59)];
    "gitlab-token" "GitLab" "GitLab token" Code Critical High
        ["glpat-", "gldt-", "glrt-", "glptt-", "glsoat-"] [Secret(Dotted, 20, 64)];
    "npm-token" "npm" "npm token" Code Critical High ["npm_"] [Secret(Alnum, 36, 36)];
    "pypi-token" "PyPI" "PyPI token" Code Critical High
        ["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"] [Secret(Word, 50, 600)];
    "rubygems-key" "RubyGems" "RubyGems key" Code Critical High
        ["rubygems_"] [Secret(Hex, 48, 48)];
    "docker-token" "Docker" "Docker Hub token" Code Critical High
        ["dckr_pat_", "dckr_oat_"] [Secret(Word, 27, 36)];
    "slack-token" "Slack" "Slack token" Message Serious High
        ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-"]
        [Run(Digit, 9, 15), Is("-"), Secret(Word, 20, 150)];
    "slack-app-token" "Slack" "Slack app token" Message Serious High
        ["xapp-"] [Run(Digit, 1, 2), Is("-"), Run(Upper, 9, 13), Is("-"), Run(Digit, 10, 15),
                   Is("-"), Secret(Hex, 64, 64)];
    "slack-webhook" "Slack" "Slack webhook" Message Narrow High
        ["hooks.slack.com/services/T"]
        [Run(Upper, 8, 12), Is("/B"), Run(Upper, 8, 12), Is("/"), Secret(Alnum, 24, 24)];
    "sendgrid-key" "SendGrid" "SendGrid key" Message Serious High
        ["SG."] [Secret(Word, 22, 22), Is("."), Secret(Word, 43, 43)];
    "brevo-key" "Brevo" "Brevo key" Message Serious High
        ["xkeysib-"] [Secret(Hex, 64, 64), Is("-"), Secret(Alnum, 16, 16)];
    "stripe-key" "Stripe" "Stripe live key" Payment Critical High
        ["sk_live_", "rk_live_"] [Secret(Alnum, 24, 120)];
    "stripe-test-key" "Stripe" "Stripe test key" Payment Minor High
        ["sk_test_", "rk_test_"] [Secret(Alnum, 24, 120)];
    "shopify-token" "Shopify" "Shopify token" Payment Serious High
        ["shpat_", "shpca_", "shppa_", "shpss_"] [Secret(Hex, 32, 32)];
    "square-token" "Square" "Square token" Payment Critical High
        ["sq0atp-", "sq0csp-"] [Secret(Word, 22, 60)];
    "grafana-token" "Grafana" "Grafana service account token" Service Serious High
        ["glsa_"] [Secret(Alnum, 32, 32), Is("_"), Secret(Hex, 8, 8)];
    "new-relic-key" "New Relic" "New Relic user key" Service Serious High
        ["NRAK-"] [Secret(Upper, 27, 27)];
    "sentry-token" "Sentry" "Sentry user token" Service Serious High
        ["sntryu_"] [Secret(Hex, 64, 64)];
    "linear-key" "Linear" "Linear key" Service Serious High ["lin_api_"] [Secret(Alnum, 40, 40)];
    "notion-token" "Notion" "Notion token" Service Serious High ["ntn_"] [Secret(Alnum, 46, 46)];
    "figma-token" "Figma" "Figma token" Service Serious High ["figd_"] [Secret(Word, 40, 44)];
    "postman-key" "Postman" "Postman key" Service Serious High
        ["PMAK-"] [Secret(Hex, 24, 24), Is("-"), Secret(Hex, 34, 34)];
    "atlassian-token" "Atlassian" "Atlassian API token" Service Serious High
        ["ATATT3xFfGF0"] [Secret(Base64, 150, 250)];
    "age-secret-key" "age" "age secret key" PrivateKey Critical High
        ["AGE-SECRET-KEY-1"] [Secret(Upper, 58, 58)];
    "onepassword-token" "1Password" "1Password service account token" Service Critical Low
        ["ops_eyJ"] [Secret(Base64, 250, 1500)];
}
