// One of the fuzzers below, named by FUZZ_TARGET; `script/fuzz` builds and runs it. Arguments are libFuzzer's.
import CLibFuzzer
import Glibc

guard let name = getenv("FUZZ_TARGET").map({ String(cString: $0) }), let target = FuzzTarget(rawValue: name) else {
    let message = "FUZZ_TARGET must be one of \(FuzzTarget.allCases.map(\.rawValue).joined(separator: ", "))\n"
    Array(message.utf8).withUnsafeBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(64)
}
FuzzTarget.current = target

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
let code = LLVMFuzzerRunDriver(&count, &arguments) { bytes, length in
    FuzzTarget.current.run(UnsafeRawBufferPointer(start: bytes, count: length))
    return 0
}
exit(code)
