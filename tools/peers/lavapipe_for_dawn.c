/* A Vulkan driver for `cargo xtask peers`: Mesa's lavapipe, which claims two features more than it has.
 *
 * ONNX Runtime's WebGPU provider stands on Dawn, and Dawn takes no adapter without dynamic indexing of arrays of sampled and of
 * storage images. lavapipe of Mesa 22.3 lacks both. A graph of CLIPSeg has no images at all, so nothing that it runs needs them:
 * where Dawn asks, this driver says yes, and where Dawn switches them on, it leaves them off. All else is passed to lavapipe as it
 * is, so what is timed is lavapipe.
 *
 * It is no layer, as those must also keep the loader's chains of functions; a driver is three entry points. Only the little of
 * Vulkan that it touches is declared here, so that it builds where Vulkan's headers are not installed. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef void (*Function)(void);

/* VkPhysicalDeviceFeatures is VkBool32 after VkBool32; these are the places of two of them. */
enum { FEATURES = 55, SAMPLED_IMAGE_INDEXING = 34, STORAGE_IMAGE_INDEXING = 36 };

typedef struct {
    uint32_t has[FEATURES];
} Features;

/* The start of every struct in a chain of extensions. */
typedef struct {
    uint32_t type;
    const void *next;
} Link;

enum { TYPE_FEATURES_2 = 1000059000 };

typedef struct {
    Link link;
    Features features;
} Features2;

/* VkDeviceCreateInfo. */
typedef struct {
    Link link;
    uint32_t flags;
    uint32_t queue_count;
    const void *queues;
    uint32_t layer_count;
    const char *const *layers;
    uint32_t extension_count;
    const char *const *extensions;
    const Features *features;
} DeviceInfo;

/* What lavapipe exports, and of what it hands out, what is wrapped. */
static Function (*lavapipe_instance_function)(void *instance, const char *name);
static Function (*lavapipe_physical_function)(void *instance, const char *name);
static int32_t (*lavapipe_negotiate)(uint32_t *version);
static void (*lavapipe_get_features)(void *adapter, Features *features);
static void (*lavapipe_get_features_2)(void *adapter, Features2 *features);
static int32_t (*lavapipe_create_device)(void *adapter, const DeviceInfo *info, const void *allocator, void **device);

/* The loader calls an entry point before anything else, and from one thread. */
static int load(void) {
    if (lavapipe_instance_function) return 1;
    void *library = dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "lavapipe_for_dawn: %s\n", dlerror());
        return 0;
    }
    lavapipe_physical_function = (Function (*)(void *, const char *))dlsym(library, "vk_icdGetPhysicalDeviceProcAddr");
    lavapipe_negotiate = (int32_t (*)(uint32_t *))dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
    lavapipe_instance_function = (Function (*)(void *, const char *))dlsym(library, "vk_icdGetInstanceProcAddr");
    return lavapipe_instance_function && lavapipe_negotiate;
}

static void set(Features *features, uint32_t value) {
    features->has[SAMPLED_IMAGE_INDEXING] = value;
    features->has[STORAGE_IMAGE_INDEXING] = value;
}

static void get_features(void *adapter, Features *features) {
    lavapipe_get_features(adapter, features);
    set(features, 1);
}

static void get_features_2(void *adapter, Features2 *features) {
    lavapipe_get_features_2(adapter, features);
    set(&features->features, 1);
}

static int32_t create_device(void *adapter, const DeviceInfo *info, const void *allocator, void **device) {
    /* The features may come as a field or in the chain. The caller's structs are const: they are put back as they were. */
    DeviceInfo copy = *info;
    Features features;
    if (copy.features) {
        features = *copy.features;
        set(&features, 0);
        copy.features = &features;
    }
    Features2 *chained = NULL;
    for (const Link *link = copy.link.next; link; link = link->next) {
        if (link->type == TYPE_FEATURES_2) chained = (Features2 *)link;
    }
    Features kept;
    if (chained) {
        kept = chained->features;
        set(&chained->features, 0);
    }
    int32_t result = lavapipe_create_device(adapter, &copy, allocator, device);
    if (chained) chained->features = kept;
    return result;
}

/* Ours in the place of lavapipe's, where it has one of that name. */
static Function wrapped(const char *name, Function lavapipes) {
    if (!lavapipes) return NULL;
    if (!strcmp(name, "vkGetPhysicalDeviceFeatures")) {
        lavapipe_get_features = (void (*)(void *, Features *))lavapipes;
        return (Function)get_features;
    }
    if (!strcmp(name, "vkGetPhysicalDeviceFeatures2") || !strcmp(name, "vkGetPhysicalDeviceFeatures2KHR")) {
        lavapipe_get_features_2 = (void (*)(void *, Features2 *))lavapipes;
        return (Function)get_features_2;
    }
    if (!strcmp(name, "vkCreateDevice")) {
        lavapipe_create_device = (int32_t (*)(void *, const DeviceInfo *, const void *, void **))lavapipes;
        return (Function)create_device;
    }
    return lavapipes;
}

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    if (!load()) return NULL;
    /* Else a caller could ask lavapipe, past this. */
    if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)vk_icdGetInstanceProcAddr;
    return wrapped(name, lavapipe_instance_function(instance, name));
}

Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    if (!load() || !lavapipe_physical_function) return NULL;
    return wrapped(name, lavapipe_physical_function(instance, name));
}

int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    /* VK_ERROR_INCOMPATIBLE_DRIVER: the loader goes on without this driver. */
    return load() ? lavapipe_negotiate(version) : -9;
}
