/// Configurations that many tests share; all on ports that the system picks.
enum Configurations {
    /// The scrape side alone.
    static let scrape = """
        [exporter]
        worker_threads = 0
        scrape_expose_endpoint = "127.0.0.1:0"

        """

    /// For `[exporter]`: no deadline that a loaded machine could reach while a test holds a request or a message back.
    static let patience = "header_timeout = \"10m\"\nshutdown_timeout = \"10m\"\n"

    /// The scrape side in TLS, with the development certificates.
    static func scrape(tls: String, _ more: String = "") -> String {
        scrape + """
            tls = "\(tls)"
            [exporter.tls_server_config]
            cert_file = "certs/server.pem"
            key_file = "certs/server-key.pem"
            \(more)

            """
    }

    /// Both receivers.
    static func receivers(format: String = "json", _ more: String = "") -> String {
        """
        [receiver]
        format = "\(format)"
        receive_on_unix_socket = true
        receiver_unix_socket = "receiver.sock"
        receive_on_tcp_socket = true
        receiver_tcp_socket = "127.0.0.1:0"
        \(more)

        """
    }

    /// The HTTP receiver.
    static func httpReceiver(_ more: String = "") -> String {
        """
        [receiver]
        receive_on_http_socket = true
        receiver_http_socket = "127.0.0.1:0"
        \(more)

        """
    }

    /// `[poll_external]`, for more of it to follow: each target is polled once while a test runs.
    static let polledOnce = """
        [poll_external]
        poll_other_scrape_endpoints = true
        poll_interval = "10m"
        client_timeout = "20s"

        """

    /// Polls these URLs each second.
    static func poll(_ urls: String..., more: String = "") -> String {
        """
        [poll_external]
        poll_other_scrape_endpoints = true
        other_scrape_endpoints = [\(urls.map { "\"\($0)\"" }.joined(separator: ", "))]
        poll_interval = 1
        client_timeout = "500ms"
        \(more)

        """
    }
}
