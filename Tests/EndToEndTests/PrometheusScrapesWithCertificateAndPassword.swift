import Foundation
import TestSupport
import Testing

@Test("a real Prometheus scrapes with a client certificate and a password; without either, up is 0")
func prometheusScrapesWithCertificateAndPassword() async throws {
    let users = """
        [exporter.basic_auth_users]
        prom = "$2y$04$abcdefghijklmnopqrstuuulwc451dv4LP4yGjbsf9WerSYc6su2O"

        """
    let config = Configurations.scrape(
        tls: "required",
        "client_auth_type = \"RequireAndVerifyClientCert\"\nclient_ca_file = \"certs/ca.pem\"\nclient_allowed_sans = [\"exporter-proxy-client\"]"
    )
    try await withProxy(config + users, certificates: true) { proxy in
        let certificate = "cert_file: \(proxy.folder.path("certs/client.pem")), key_file: \(proxy.folder.path("certs/client-key.pem"))"
        func job(_ name: String, _ tls: String, password: String) -> String {
            """
              - job_name: \(name)
                scheme: https
                tls_config: {ca_file: \(proxy.caFile)\(tls)}
                basic_auth: {username: prom, password: \(password)}
                static_configs: [{targets: ["localhost:\(proxy.scrapePort)"]}]

            """
        }
        let jobs =
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" + job("both", ", \(certificate)", password: "openesame")
            + job("password_alone", "", password: "openesame") + job("wrong_password", ", \(certificate)", password: "wrong")
        try await withPrometheus(jobs, folder: proxy.folder) { prometheus in
            try await wait(for: "a scrape") { try await prometheus.query(#"up{job="both"}"#) == "1" }
            try await wait(for: "a refused certificate") { try await prometheus.query(#"up{job="password_alone"}"#) == "0" }
            try await wait(for: "a refused password") { try await prometheus.query(#"up{job="wrong_password"}"#) == "0" }
        }
    }
}
