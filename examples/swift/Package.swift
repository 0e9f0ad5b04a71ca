// swift-tools-version:6.2
import PackageDescription

let package = Package(
    name: "unsay-example",
    dependencies: [
        // Or by the URL of a repository and a version, a branch or a revision.
        .package(name: "Unsay", path: "../..")
    ],
    targets: [
        .executableTarget(
            name: "patch", dependencies: [.product(name: "Unsay", package: "Unsay")])
    ]
)
