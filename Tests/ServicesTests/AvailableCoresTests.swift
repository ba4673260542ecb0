import Testing

@testable import Services

@Suite("Available cores")
struct AvailableCoresTests {
    /// The quota in `files`, by path below the mount.
    private func quota(_ cgroups: String, _ files: [String: String]) -> Double? {
        AvailableCores.quota(of: cgroups, mounts: "/cg") { files[$0] }
    }

    @Test(
        "the smaller of affinity and quota counts, rounded up, and at least one",
        arguments: [(8, nil, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.2, 1), (1, 4.0, 1), (0, nil, 1), (4, 1e300, 4)] as [(Int, Double?, Int)])
    func count(schedulable: Int, quota: Double?, cores: Int) {
        #expect(AvailableCores.count(schedulable: schedulable, quota: quota) == cores)
    }

    @Test(
        "the affinity mask is a number in hexadecimal digits, with commas",
        arguments: [("Cpus_allowed:\tff\n", 8), ("Name:\tx\nCpus_allowed:\t00000000,00000001\nCpus_allowed_list:\t0\n", 1), ("", nil)]
            as [(String, Int?)])
    func affinity(status: String, cores: Int?) {
        #expect(AvailableCores.schedulable(in: status) == cores)
    }

    @Test("version 2: the smallest quota of the group and all above it")
    func version2() {
        let cgroups = "0::/system.slice/proxy.service\n"
        #expect(quota(cgroups, ["/cg/system.slice/proxy.service/cpu.max": "150000 100000\n"]) == 1.5)
        #expect(
            quota(
                cgroups,
                ["/cg/system.slice/proxy.service/cpu.max": "max 100000\n", "/cg/system.slice/cpu.max": "200000 100000\n"]) == 2)
        // In a container the group is mounted at the root, whatever its path says.
        #expect(quota(cgroups, ["/cg/cpu.max": "50000 100000\n"]) == 0.5)
        #expect(quota(cgroups, ["/cg/system.slice/proxy.service/cpu.max": "max 100000\n"]) == nil)
        #expect(quota(cgroups, [:]) == nil)
    }

    @Test("version 1: the controller may be mounted under several names")
    func version1() {
        let cgroups = "12:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n"
        for folder in ["/cg/cpu,cpuacct/a/b", "/cg/cpu/a", "/cg/cpu"] {
            #expect(quota(cgroups, ["\(folder)/cpu.cfs_quota_us": "300000\n", "\(folder)/cpu.cfs_period_us": "100000\n"]) == 3)
            #expect(quota(cgroups, ["\(folder)/cpu.cfs_quota_us": "-1\n", "\(folder)/cpu.cfs_period_us": "100000\n"]) == nil)
        }
    }

    @Test("what is not as expected is no limit", arguments: ["", "x", "0::", "::", "4:cpu", "0::/a:b"])
    func odd(cgroups: String) {
        #expect(quota(cgroups, ["/cg/cpu.max": "0 0", "/cg/a/cpu.max": "1"]) == nil)
    }

    @Test("this process may use at least one core")
    func here() { #expect(AvailableCores.count() >= 1) }
}
