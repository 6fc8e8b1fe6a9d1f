"""Stand-ins for the two modules that touch a GPU: ``tensorrt`` and ``cuda.bindings.runtime``.

An "engine" of this TensorRT is the ONNX file itself, run by ONNX Runtime on memory that this CUDA
takes from the host. Calls are written down, so tests can see their order and their arguments.
"""

import ctypes
import enum
import types

import numpy as np
import onnx
import onnxruntime as ort


class Flag(enum.IntEnum):
    STRONGLY_TYPED = 1


class Pool(enum.IntEnum):
    WORKSPACE = 0


class Parser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse(self, content):
        if not content.startswith(b"\x08"):
            return False
        self.network.content = content
        return True

    def get_error(self, number):
        return types.SimpleNamespace(desc=lambda: "not\na model")


class Network:
    content = b""

    def get_input(self, number):
        value = onnx.load_from_string(self.content).graph.input[number]
        shape = [d.dim_value or -1 for d in value.type.tensor_type.shape.dim]
        return types.SimpleNamespace(name=value.name, shape=shape)


class Profile:
    shapes: dict

    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, *shapes):
        self.shapes[name] = shapes


class Cache(bytes):
    def serialize(self):
        return self


class Settings:
    def __init__(self):
        self.pools, self.profiles, self.cache = {}, [], None

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def create_timing_cache(self, content):
        return Cache(content + b"t")

    def set_timing_cache(self, cache, ignore_mismatch):
        self.cache = cache

    def get_timing_cache(self):
        return self.cache

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)


class Engine:
    def __init__(self, content, most):
        self.content, self.most = content, most
        self.graph = onnx.load_from_string(content).graph

    def get_tensor_shape(self, name):
        value = next(v for v in (*self.graph.input, *self.graph.output) if v.name == name)
        return tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim)

    def get_tensor_profile_shape(self, name, profile):
        rest = self.get_tensor_shape(name)[1:]
        return [(1, *rest), (1, *rest), (self.most, *rest)]

    def create_execution_context(self):
        return Context(self)


class Context:
    def __init__(self, engine):
        self.session = ort.InferenceSession(engine.content, providers=["CPUExecutionProvider"])
        self.addresses, self.fails = {}, False

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)

    def execute_async_v3(self, stream):
        if self.fails:
            return False
        size = int(np.prod(self.shape))
        kind = ctypes.c_float * size
        images = np.frombuffer(kind.from_address(self.addresses["images"]), np.float32)
        result = self.session.run(None, {"images": images.reshape(self.shape)})[0]
        ctypes.memmove(self.addresses["detections"], result.ctypes.data, result.nbytes)
        return True


def make_tensorrt(version="10.3.0"):
    made = types.SimpleNamespace(settings=None, flags=None, profile_most=3)

    class Builder:
        def __init__(self, logger):
            made.settings = None

        def create_network(self, flags):
            made.flags = flags
            return Network()

        def create_builder_config(self):
            made.settings = Settings()
            return made.settings

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, settings):
            return memoryview(network.content)

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, content):
            return Engine(content, made.profile_most) if content.startswith(b"\x08") else None

    def logger(level):
        return level

    logger.WARNING = 1
    return types.SimpleNamespace(
        __version__=version,
        Logger=logger,
        Builder=Builder,
        Runtime=Runtime,
        OnnxParser=Parser,
        NetworkDefinitionCreationFlag=Flag,
        MemoryPoolType=Pool,
        made=made,
    )


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInsufficientDriver = 35


class Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Cuda:
    """``cuda.bindings.runtime`` on host memory; ``log`` names its calls, ``live`` its memory."""

    cudaError_t, cudaMemcpyKind, cudaHostAllocDefault = Status, Kind, 0

    def __init__(self):
        self.log, self.live, self.broken = [], {}, False

    def cudaMalloc(self, size):
        self.log.append("malloc")
        if self.broken:
            return Status.cudaErrorInsufficientDriver, None
        memory = ctypes.create_string_buffer(size)
        self.live[ctypes.addressof(memory)] = memory
        return Status.cudaSuccess, ctypes.addressof(memory)

    def cudaHostAlloc(self, size, flags):
        return self.cudaMalloc(size)

    def cudaFree(self, address):
        del self.live[address]
        return (Status.cudaSuccess,)

    cudaFreeHost = cudaFree

    def cudaStreamCreate(self):
        return Status.cudaSuccess, 7

    def cudaStreamDestroy(self, stream):
        self.log.append("destroy")
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream):
        self.log.append("synchronize")
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.log.append("up" if kind == Kind.cudaMemcpyHostToDevice else "down")
        assert (target in self.live) and (source in self.live)
        ctypes.memmove(target, source, size)
        return (Status.cudaSuccess,)
