// swift-tools-version: 6.2
import PackageDescription

// CI treats every warning of our own targets as an error; a user's newer compiler must still be able to build.
let strict = Context.environment["CI"] != nil || Context.environment["STRICT"] != nil

var swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("ExistentialAny"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])
var cxxSettings: [CXXSetting] = strict ? [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])] : []
var cSettings: [CSetting] = strict ? [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])] : []

// `script/fuzz` alone sets this: the library of libFuzzer without its main. Then our own modules are instrumented for it.
let libFuzzer = Context.environment["EXPORTER_PROXY_LIBFUZZER"]
if libFuzzer != nil {
    swiftSettings.append(.unsafeFlags(["-sanitize=fuzzer"]))
    cxxSettings.append(.unsafeFlags(["-fsanitize=fuzzer-no-link"]))
    cSettings.append(.unsafeFlags(["-fsanitize=fuzzer-no-link"]))
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "exporter-proxy",
    products: [
        .executable(name: "exporter-proxy", targets: ["ExporterProxy"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // The program first, then the modules that it uses. Dependencies are declared here; ARCHITECTURE.md explains them.
        .executableTarget(
            name: "ExporterProxy",
            dependencies: ["Services", "Proxy", argumentParser, logging],
            swiftSettings: swiftSettings),
        .target(
            name: "Services",
            dependencies: [
                "Proxy", "Exposition", "HTTP", "TLS", "ConfigWatch", "CFiles", "CMalloc", "CSignals", "CThreads", nioCore, nioPosix, nioTLS,
                logging,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "Proxy",
            dependencies: ["Exposition", "HTTP", "Pushgateway", "TOML", "CCapnp", "CCrypt", "CSimdjson", "CText", "CDeflate", nioCore],
            swiftSettings: swiftSettings),
        .target(name: "Exposition", dependencies: ["CText"], swiftSettings: swiftSettings),
        .target(name: "Pushgateway", swiftSettings: swiftSettings),
        .target(name: "HTTP", dependencies: [nioCore], swiftSettings: swiftSettings),
        .target(name: "TLS", dependencies: ["COpenSSL", nioCore, nioTLS], swiftSettings: swiftSettings),
        .target(name: "TOML", dependencies: ["CTomlPlusPlus"], swiftSettings: swiftSettings),
        .target(name: "ConfigWatch", dependencies: ["CInotify"], swiftSettings: swiftSettings),

        // C and C++ libraries of the system, behind headers that Swift can read.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CInotify", providers: [.apt(["libinotifytools0-dev"])]),
        .target(
            name: "CDeflate", cSettings: cSettings,
            linkerSettings: [.linkedLibrary("isal"), .linkedLibrary("z")]),
        .target(
            name: "CCapnp", cxxSettings: cxxSettings,
            linkerSettings: [.linkedLibrary("capnp"), .linkedLibrary("kj")]),
        .target(name: "CCrypt", cSettings: cSettings, linkerSettings: [.linkedLibrary("crypt")]),
        .target(name: "CSimdjson", cxxSettings: cxxSettings, linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "CTomlPlusPlus", cxxSettings: cxxSettings),

        .target(name: "CFiles", cSettings: cSettings),
        .target(name: "CSignals", cSettings: cSettings),
        .target(name: "CThreads", cSettings: cSettings),

        // Our own C, for vector instructions that Swift cannot use.
        .target(name: "CText", cSettings: cSettings),

        .target(
            name: "TestSupport",
            dependencies: ["Proxy", "HTTP", "COpenSSL", nioCore, nioPosix],
            path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .testTarget(name: "ExpositionTests", dependencies: ["Exposition", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(name: "HTTPTests", dependencies: ["HTTP", "TestSupport", nioCore], swiftSettings: swiftSettings),
        .testTarget(name: "PushgatewayTests", dependencies: ["Pushgateway"], swiftSettings: swiftSettings),
        .testTarget(name: "TOMLTests", dependencies: ["TOML"], swiftSettings: swiftSettings),
        .testTarget(
            name: "ProxyTests", dependencies: ["Proxy", "Exposition", "HTTP", "Pushgateway", "TOML", "TestSupport", nioCore, nioEmbedded],
            exclude: ["Config/Fixtures"], swiftSettings: swiftSettings),
        .testTarget(
            name: "TLSTests", dependencies: ["TLS", "CMalloc", "COpenSSL", "TestSupport", nioCore, nioTLS, nioEmbedded, nioPosix],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ServicesTests",
            dependencies: [
                "Services", "Proxy", "HTTP", "TLS", "ConfigWatch", "TestSupport", nioCore, nioEmbedded, nioPosix, logging,
            ],
            swiftSettings: swiftSettings),
        .testTarget(name: "ConfigWatchTests", dependencies: ["ConfigWatch", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "EndToEndTests", dependencies: ["TestSupport"],
            exclude: [
                "Support/activation.py", "Support/hostile_handshakes.py", "Support/push_clients.py", "Support/pushgateway_twins.py",
                "Support/redirecting_targets.py", "Support/truncating_targets.py",
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AttackTests", dependencies: ["TestSupport"],
            exclude: [
                "Support/attack.py", "Support/attacks.py", "Support/http_attacks.py", "Support/http_push_attacks.py", "Support/measure.py",
                "Support/push_attacks.py",
                "Support/targets.py", "Support/tls_attacks.py",
            ],
            swiftSettings: swiftSettings),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

if let libFuzzer {
    package.products.append(.executable(name: "fuzz", targets: ["Fuzz"]))
    package.targets += [
        .target(name: "CLibFuzzer", path: "Fuzz/CLibFuzzer"),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "CLibFuzzer", "Services", "Proxy", "Exposition", "HTTP", "Pushgateway", "TLS", "TestSupport", nioCore, nioTLS, nioEmbedded,
                logging,
            ],
            path: "Fuzz/Fuzz", swiftSettings: swiftSettings,
            linkerSettings: [.unsafeFlags([libFuzzer]), .linkedLibrary("stdc++")]),
    ]
}
