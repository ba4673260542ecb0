import TOML

/// Every table of `config.toml` and its keys. A new key is one row here and one field in the draft.
enum ConfigSchema {
    static var root: [ConfigKey<ConfigDraft>] {
        [
            ConfigKey("exporter", .table(exporter) { _ in ExporterDraft() }, \.exporter),
            ConfigKey("receiver", .table(receiver) { _ in ReceiverDraft() }, \.receiver),
            ConfigKey("metrics", .table(metrics) { _ in MetricsDraft() }, \.metrics),
            ConfigKey("poll_external", .table(pollExternal) { _ in PollDraft() }, \.poll),
        ]
    }

    static var exporter: [ConfigKey<ExporterDraft>] {
        [
            ConfigKey("worker_threads", .integer(0...1024, example: 4, zeroMeans: 1), \.config.workerThreads).describedElsewhere,
            ConfigKey("concurrent_requests", .integer(1...65534, example: 2048), \.config.concurrentRequests),
            ConfigKey("scrape_expose_endpoint", .listenAddresses(usual: ListenAddress(host: "0.0.0.0", port: 6555)), \.scrapeAddresses)
                .describedElsewhere,
            ConfigKey("tls", .choice, \.tls),
            ConfigKey("self_metrics", .boolean, \.config.selfMetrics),
            ConfigKey("expire_after", .duration(example: "5m", orZero: true), \.expireAfter),
            ConfigKey("enable_lifecycle", .boolean, \.config.enableLifecycle),
            ConfigKey("shutdown_timeout", .duration(example: "5s", orZero: true), \.config.shutdownTimeout),
            ConfigKey("max_connections", .integer(1...1_000_000, example: 4096), \.config.maxConnections),
            ConfigKey("max_held_size", .size(example: "128MiB"), \.config.maxHeldSize),
            ConfigKey("response_timeout", .duration(example: "5m"), \.config.responseTimeout),
            ConfigKey("allowed_hosts", .allowedHosts, \.config.allowedHosts),
            ConfigKey("handshake_timeout", .duration(example: "10s"), \.config.handshakeTimeout),
            ConfigKey("header_timeout", .duration(example: "10s"), \.config.headerTimeout),
            ConfigKey("idle_timeout", .duration(example: "6m"), \.config.idleTimeout),
            ConfigKey("write_timeout", .duration(example: "60s"), \.config.writeTimeout),
            ConfigKey("tls_server_config", .table(tlsServer) { TLSServerDraft(key: $0) }, \.tlsServer),
            ConfigKey("basic_auth_users", .users, \.config.basicAuthUsers),
        ]
    }

    static var tlsServer: [ConfigKey<TLSServerDraft>] {
        [
            ConfigKey("cert_file", .path(example: "certs/server.pem"), \.certFile),
            ConfigKey("key_file", .path(example: "certs/server-key.pem"), \.keyFile),
            ConfigKey("key_password_file", .path(example: "certs/server-key.password"), \.keyPasswordFile),
            ConfigKey("client_auth_type", .clientAuthType, \.clientAuthType),
            ConfigKey("client_ca_file", .path(example: "certs/ca.pem"), \.clientCAFile),
            ConfigKey("client_allowed_sans", .names("of clients", example: "prometheus.example", orNone: false), \.clientAllowedSANs),
            ConfigKey("client_crl_file", .path(example: "certs/ca.crl"), \.clientCRLFile),
            ConfigKey("min_version", .choice, \.minVersion),
            ConfigKey("max_version", .choice, \.maxVersion),
            ConfigKey("cipher_suites", .cipherSuites, \.cipherSuites),
            ConfigKey("prefer_server_cipher_suites", .boolean, \.prefersServerCipherSuites),
            ConfigKey("curve_preferences", .curves, \.curvePreferences),
        ]
    }

    static var receiver: [ConfigKey<ReceiverDraft>] {
        [
            ConfigKey("format", .choice, \.config.format),
            ConfigKey("receive_on_unix_socket", .boolean, \.receivesOnUnixSocket).describedElsewhere,
            ConfigKey("receiver_unix_socket", .path(example: UnixSocketConfig.defaultPath), \.unixSocket.path).describedElsewhere,
            ConfigKey("unix_socket_user", .principal(current: "current_user", example: "prometheus"), \.unixSocket.user).describedElsewhere,
            ConfigKey("unix_socket_group", .principal(current: "current_group", example: "prometheus"), \.unixSocket.group)
                .describedElsewhere,
            ConfigKey("unix_socket_mode", .fileMode, \.unixSocket.mode).describedElsewhere,
            ConfigKey("receive_on_tcp_socket", .boolean, \.receivesOnTCPSocket).describedElsewhere,
            ConfigKey("receiver_tcp_socket", .listenAddress(usual: ListenAddress(host: "127.0.0.1", port: 6554)), \.tcpSocket)
                .describedElsewhere,
            ConfigKey("receive_on_http_socket", .boolean, \.receivesOnHTTPSocket).describedElsewhere,
            ConfigKey("receiver_http_socket", .listenAddress(usual: ListenAddress(host: "127.0.0.1", port: 9091)), \.httpSocket)
                .describedElsewhere,
            ConfigKey("tls", .choice, \.tls),
            ConfigKey("state_file", .path(example: "/var/lib/exporter-proxy/apps.state", orEmpty: true), \.stateFile),
            ConfigKey("state_interval", .duration(example: "5m"), \.config.stateInterval),
            ConfigKey("max_message_size", .size(upTo: .gibibytes(1), example: "16MiB"), \.config.maxMessageSize),
            ConfigKey("max_apps", .integer(1...100_000_000, example: 100_000), \.config.maxApps),
            ConfigKey("max_total_size", .size(example: "1GiB"), \.config.maxTotalSize),
            ConfigKey("max_inflight_size", .size(example: "256MiB"), \.config.maxInflightSize),
            ConfigKey("idle_timeout", .duration(example: "60s"), \.config.idleTimeout),
            ConfigKey("message_timeout", .duration(example: "60s"), \.config.messageTimeout),
            ConfigKey("tls_server_config", .table(tlsServer) { TLSServerDraft(key: $0) }, \.tlsServer),
            ConfigKey("basic_auth_users", .users, \.config.basicAuthUsers),
            ConfigKey(
                "owners",
                .array(of: .table(owner) { OwnerDraft(key: $0) }, "an array of tables", example: "[[receiver.owners]]") { owners in
                    "[\(owners.map(\.text).joined(separator: ", "))]"
                },
                \.owners),
        ]
    }

    static var owner: [ConfigKey<OwnerDraft>] {
        [
            ConfigKey("apps", .names("of apps", example: "backup_*", orNone: false), \.apps),
            ConfigKey("users", .accounts("users", example: "backup"), \.users),
            ConfigKey("groups", .accounts("groups", example: "backup"), \.groups),
            ConfigKey("client_sans", .names("of clients", example: "backup.example"), \.clientSANs),
            ConfigKey("basic_auth_users", .names("of users", example: "backup"), \.basicAuthUsers),
        ]
    }

    static var metrics: [ConfigKey<MetricsDraft>] {
        [
            ConfigKey("validate", .choice, \.validate),
            ConfigKey("app_label", .labelName(orEmpty: true), \.appLabel),
        ]
    }

    static var pollExternal: [ConfigKey<PollDraft>] {
        [
            ConfigKey("poll_other_scrape_endpoints", .boolean, \.polls),
            ConfigKey(
                "other_scrape_endpoints",
                .array(of: ConfigValue<TargetURL.Written>.url.keyed, "an array of URLs", example: "[\"http://127.0.0.1:9100/metrics\"]"),
                \.endpoints),
            ConfigKey("allow_invalid_certs", .boolean, \.allowsInvalidCerts),
            ConfigKey("poll_interval", .duration(example: "5s"), \.interval),
            ConfigKey("client_timeout", .duration(example: "2s"), \.timeout),
            ConfigKey("body_size_limit", .size(upTo: .gibibytes(1), example: "64MiB"), \.bodySizeLimit),
            ConfigKey("max_inflight_size", .size(example: "256MiB"), \.maxInflightSize),
            ConfigKey("proxy_url", .proxyURL, \.proxy),
            ConfigKey("expire_after", .duration(example: "1m", orZero: true), \.expireAfter),
            ConfigKey("tls_config", .table(tlsClient) { TLSClientDraft(key: $0) }, \.tls),
            ConfigKey(
                "targets",
                .array(of: .table(target) { TargetDraft(key: $0) }, "an array of tables", example: "[[poll_external.targets]]"),
                \.targets),
        ]
    }

    static var tlsClient: [ConfigKey<TLSClientDraft>] {
        [
            ConfigKey("ca_file", .path(example: "certs/ca.pem"), \.caFile),
            ConfigKey("cert_file", .path(example: "certs/client.pem"), \.certFile),
            ConfigKey("key_file", .path(example: "certs/client-key.pem"), \.keyFile),
            ConfigKey("server_name", .serverName, \.config.serverName),
            ConfigKey("insecure_skip_verify", .boolean, \.config.insecureSkipVerify),
            ConfigKey("min_version", .choice, \.config.minVersion),
            ConfigKey("max_version", .choice, \.config.maxVersion),
            ConfigKey("cipher_suites", .cipherSuites, \.config.cipherSuites),
            ConfigKey("curve_preferences", .curves, \.config.curvePreferences),
        ]
    }

    static var target: [ConfigKey<TargetDraft>] {
        [
            ConfigKey("url", .url, \.url),
            ConfigKey("name", .appName, \.name).describedElsewhere,
            ConfigKey("poll_interval", .duration(example: "5s"), \.interval),
            ConfigKey("client_timeout", .duration(example: "2s"), \.timeout),
            ConfigKey("body_size_limit", .size(upTo: .gibibytes(1), example: "64MiB"), \.bodySizeLimit),
            ConfigKey("expire_after", .duration(example: "1m", orZero: true), \.expireAfter),
            ConfigKey("headers", .headers, \.headers),
            ConfigKey("labels", .labels, \.labels),
            ConfigKey("proxy_url", .proxyURL, \.proxy),
            ConfigKey("keep_alive", .boolean, \.keepsAlive),
            ConfigKey("follow_redirects", .boolean, \.followsRedirects),
            ConfigKey("basic_auth", .table(basicAuth, holdsSecrets: true) { BasicAuthDraft(key: $0) }, \.basicAuth),
            ConfigKey("authorization", .table(authorization, holdsSecrets: true) { AuthorizationDraft(key: $0) }, \.authorization),
            ConfigKey("tls_config", .table(tlsClient) { TLSClientDraft(key: $0) }, \.tls),
        ]
    }

    static var basicAuth: [ConfigKey<BasicAuthDraft>] {
        [
            ConfigKey("username", .username, \.username),
            ConfigKey("password", .secret(orEmpty: true), \.password),
            ConfigKey("password_file", .path(example: "target.password"), \.passwordFile),
        ]
    }

    static var authorization: [ConfigKey<AuthorizationDraft>] {
        [
            ConfigKey("type", .authorizationType, \.type),
            ConfigKey("credentials", .secret(), \.credentials),
            ConfigKey("credentials_file", .path(example: "target.token"), \.credentialsFile),
        ]
    }

    static func read(_ table: TOMLTable, with reader: inout ConfigReader) -> ConfigDraft {
        var draft = ConfigDraft()
        ConfigKey.read(table, at: "", schema: root, into: &draft, with: &reader)
        return draft
    }

    /// The dotted names of all keys with a value, in the order of the reference; `[]` means each element of an array of tables
    /// (`poll_external.targets[].url`).
    static let leafKeys: [String] = root.flatMap { row in row.leaves.map { row.name + $0 } }

    /// The tables in which `key` is known, itself a table or not.
    static func tables(having key: String) -> [String] {
        var tables: [String] = []
        for leaf in leafKeys {
            let parts = leaf.split(separator: ".")
            for index in parts.indices.dropFirst() where parts[index] == key || parts[index] == "\(key)[]" {
                let table = parts[..<index].joined(separator: ".")
                if !tables.contains(table) { tables.append(table) }
            }
        }
        return tables
    }
}
