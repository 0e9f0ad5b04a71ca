// Files: mapped from a folder that may be hostile, or copied from memory.
#include "internal.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct onnx_file {
    const uint8_t *bytes = nullptr;
    size_t size = 0;
    bool is_mapped = false;
    int descriptor = -1; // of a mapped file, as long as there are few
    ~onnx_file();
};

namespace onnx_shim {
namespace {

// Files whose descriptors are kept, in all models of the process. An export with a file for
// each tensor has hundreds, and descriptors are the host's to use.
std::atomic<int> kept_descriptors{0};
constexpr int most_descriptors = 64;

struct Descriptor {
    int value;
    explicit Descriptor(int value) : value(value) {}
    Descriptor(Descriptor &&other) noexcept : value(other.value) { other.value = -1; }
    Descriptor &operator=(Descriptor &&other) noexcept {
        std::swap(value, other.value);
        return *this;
    }
    Descriptor(const Descriptor &) = delete;
    ~Descriptor() {
        if (value >= 0) close(value);
    }
};

// Flags of every file that is opened to be read. O_NONBLOCK: opening a pipe must not wait
// for its other end.
constexpr int reading = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
// Flags of a folder that is passed through: permission to search it is enough.
constexpr int passing = O_PATH | O_DIRECTORY | O_CLOEXEC;

[[noreturn]] void fail(int error) {
    const auto status = error == ENOENT                      ? ONNX_E_NOT_FOUND
                        : error == ENOMEM                    ? ONNX_E_MEMORY
                        : error == ELOOP || error == ENOTDIR ? ONNX_E_FORMAT
                                                             : ONNX_E_IO;
    throw Refusal(status, error == ELOOP
                              ? "its symbolic links lead in a circle"
                              : std::string("cannot be opened: ") + std::strerror(error));
}

std::vector<std::string> parts_of(const std::string &name) {
    std::vector<std::string> parts;
    size_t begin = 0;
    while (begin <= name.size()) {
        const size_t end = std::min(name.find('/', begin), name.size());
        parts.push_back(name.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

// Where the link `part` of a folder leads; "" if it is no link.
std::string target_of(int folder, const std::string &part) {
    char target[4096]; // PATH_MAX
    const ssize_t length = readlinkat(folder, part.c_str(), target, sizeof target);
    return length <= 0 ? "" : std::string(target, static_cast<size_t>(length));
}

bool is_same(int one, int other) {
    struct stat mine, theirs;
    return fstat(one, &mine) == 0 && fstat(other, &theirs) == 0 &&
           mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

// Opens what a link of a model cache leads to: snapshots/<revision>/[folders/]x to
// ../../[../]blobs/<name>, where `blobs` is a folder beside `snapshots`, and neither they
// nor the blob are links. Each is opened from the one before, so that nobody can exchange
// them meanwhile. -1, with errno 0, if the link is no such one.
Descriptor open_blob(int folder, const std::string &target) {
    const auto parts = parts_of(target);
    size_t levels = 0;
    while (levels < parts.size() && parts[levels] == "..") ++levels;
    errno = 0;
    if (levels < 2 || parts.size() != levels + 2 || parts[levels] != "blobs" ||
        parts.back().empty() || parts.back() == "." || parts.back() == "..")
        return Descriptor(-1);
    Descriptor below(-1), at(-1);
    for (size_t level = 0; level < levels; ++level) {
        Descriptor above(openat(level == 0 ? folder : at.value, "..", passing));
        if (above.value < 0) return above;
        below = std::move(at);
        at = std::move(above);
    }
    const Descriptor snapshots(openat(at.value, "snapshots", passing | O_NOFOLLOW));
    const Descriptor blobs(openat(at.value, "blobs", passing | O_NOFOLLOW));
    errno = 0;
    if (snapshots.value < 0 || blobs.value < 0 || !is_same(snapshots.value, below.value))
        return Descriptor(-1);
    return Descriptor(openat(blobs.value, parts.back().c_str(), reading | O_NOFOLLOW));
}

[[noreturn]] void refuse_link(
    const std::string &part, const std::string &target, bool is_whole) {
    throw Refusal(ONNX_E_FORMAT,
        (is_whole ? "is a symbolic link to " : quoted(part) + " is a symbolic link to ") +
            quoted(target) +
            ", outside the blobs of a model cache: it opens only with the option "
            "allow_links");
}

// Opens `name` beneath `folder`, part by part.
Descriptor open_beneath(int folder, const std::string &name, onnx_links links) {
    const auto parts = parts_of(name);
    for (const auto &part : parts)
        if (part.empty() || part == "..")
            refuse("the file name " + quoted(name) +
                   " is not a path inside the model's folder");
    const int no_link = links == ONNX_LINKS_ANY ? 0 : O_NOFOLLOW;
    Descriptor at(-1);
    int parent = folder;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
        Descriptor next(openat(parent, parts[i].c_str(), passing | no_link));
        if (next.value < 0) {
            const int error = errno;
            const auto target = no_link ? target_of(parent, parts[i]) : "";
            if (!target.empty()) refuse_link(parts[i], target, false);
            fail(error);
        }
        at = std::move(next);
        parent = at.value;
    }
    const auto &last = parts.back();
    Descriptor file(openat(parent, last.c_str(), reading | no_link));
    if (file.value >= 0) return file;
    int error = errno;
    const auto target = target_of(parent, last);
    if (target.empty()) fail(error);
    if (no_link) {
        if (links == ONNX_LINKS_BLOBS) {
            Descriptor blob = open_blob(parent, target);
            error = errno;
            if (blob.value >= 0) return blob;
        }
        if (links == ONNX_LINKS_NONE || error == 0 || error == ELOOP)
            refuse_link(last, target, true);
    }
    if (error == ENOENT)
        throw Refusal(ONNX_E_NOT_FOUND,
            "is a symbolic link to " + quoted(target) + ", where there is no file");
    fail(error);
}

const char *kind_of(mode_t mode) {
    return S_ISDIR(mode)                    ? "is a folder"
           : S_ISFIFO(mode)                 ? "is a pipe"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "is a device"
                                            : "is not a regular file";
}

} // namespace

std::string quoted(const std::string &name) {
    if (name.size() <= 120) return "\"" + name + "\"";
    size_t end = 117;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
    return "\"" + name.substr(0, end) + "...\"";
}

} // namespace onnx_shim

using namespace onnx_shim;

onnx_file::~onnx_file() {
    if (descriptor >= 0) {
        close(descriptor);
        --kept_descriptors;
    }
    if (is_mapped)
        munmap(const_cast<uint8_t *>(bytes), size);
    else
        delete[] bytes;
}

extern "C" onnx_status onnx_file_map(int folder, const char *name, onnx_links links,
    onnx_file **out, onnx_message *message) {
    return boundary(message, [&] {
        Descriptor file = open_beneath(folder, name, links);
        struct stat about;
        if (fstat(file.value, &about) != 0) fail(errno);
        if (!S_ISREG(about.st_mode))
            refuse(std::string(kind_of(about.st_mode)) + ", expected a file");
        auto mapped = std::make_unique<onnx_file>();
        mapped->size = static_cast<size_t>(about.st_size);
        if (mapped->size > 0) {
            void *bytes =
                mmap(nullptr, mapped->size, PROT_READ, MAP_PRIVATE, file.value, 0);
            if (bytes == MAP_FAILED) fail(errno);
            mapped->bytes = static_cast<const uint8_t *>(bytes);
            mapped->is_mapped = true;
            if (++kept_descriptors <= most_descriptors)
                std::swap(mapped->descriptor, file.value);
            else
                --kept_descriptors;
        }
        *out = mapped.release();
    });
}

extern "C" onnx_status onnx_file_copy(
    const void *bytes, size_t count, onnx_file **out, onnx_message *message) {
    return boundary(message, [&] {
        auto copied = std::make_unique<onnx_file>();
        copied->size = count;
        if (count > 0) {
            auto *own = new uint8_t[count];
            copied->bytes = own;
            std::memcpy(own, bytes, count);
        }
        *out = copied.release();
    });
}

extern "C" const uint8_t *onnx_file_bytes(const onnx_file *file) { return file->bytes; }
extern "C" size_t onnx_file_size(const onnx_file *file) { return file->size; }

extern "C" int onnx_file_is_whole(const onnx_file *file) {
    struct stat about;
    return file->descriptor < 0 || (fstat(file->descriptor, &about) == 0 &&
                                       static_cast<size_t>(about.st_size) >= file->size);
}

extern "C" onnx_status onnx_file_read(
    const onnx_file *file, size_t offset, size_t count, void *out, onnx_message *message) {
    return boundary(message, [&] {
        if (offset > file->size || count > file->size - offset)
            refuse("a part of a file lies behind its end");
        if (file->descriptor < 0) {
            std::memcpy(out, file->bytes + offset, count);
            return;
        }
        for (size_t done = 0; done < count;) {
            const ssize_t part = pread(file->descriptor, static_cast<uint8_t *>(out) + done,
                count - done, static_cast<off_t>(offset + done));
            if (part < 0 && errno == EINTR) continue;
            if (part <= 0)
                throw Refusal(ONNX_E_IO,
                    part < 0 ? std::strerror(errno) : "is shorter than when it was opened");
            done += static_cast<size_t>(part);
        }
    });
}

extern "C" void onnx_file_release(const onnx_file *file, size_t offset, size_t count) {
    if (!file->is_mapped || offset > file->size || count > file->size - offset) return;
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t begin = offset / page * page;
    madvise(
        const_cast<uint8_t *>(file->bytes) + begin, offset + count - begin, MADV_DONTNEED);
}

extern "C" void onnx_file_free(onnx_file *file) { delete file; }

extern "C" int onnx_rename(int folder, const char *from, const char *to, int exchanges) {
    const unsigned flags = exchanges ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    return renameat2(folder, from, folder, to, flags) == 0 ? 0 : errno;
}
