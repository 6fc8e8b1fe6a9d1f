// Reads the output layer `detections` of an exported DEAL-YOLO: K rows of left, top, right, bottom
// in px of the network's input, then one score for each class. Not yet run on the device.
#include <algorithm>
#include <string>
#include <vector>

#include "nvdsinfer_custom_impl.h"

extern "C" bool NvDsInferParseDealYolo(
    std::vector<NvDsInferLayerInfo> const &layers, NvDsInferNetworkInfo const &network,
    NvDsInferParseDetectionParams const &params,
    std::vector<NvDsInferObjectDetectionInfo> &objects) {
  auto layer = std::find_if(layers.begin(), layers.end(), [](NvDsInferLayerInfo const &one) {
    return std::string(one.layerName) == "detections";
  });
  if (layer == layers.end() || layer->inferDims.numDims != 2) return false;
  const unsigned rows = layer->inferDims.d[0], columns = layer->inferDims.d[1];
  if (columns != 4 + params.numClassesConfigured) return false;

  const float right = static_cast<float>(network.width) - 1;
  const float bottom = static_cast<float>(network.height) - 1;
  const float *row = static_cast<const float *>(layer->buffer);
  for (unsigned i = 0; i < rows; ++i, row += columns) {
    const float *best = std::max_element(row + 4, row + columns);
    const unsigned number = static_cast<unsigned>(best - (row + 4));
    if (*best < params.perClassPreclusterThreshold[number]) continue;
    NvDsInferObjectDetectionInfo object{};
    object.classId = number;
    object.detectionConfidence = *best;
    object.left = std::clamp(row[0], 0.f, right);
    object.top = std::clamp(row[1], 0.f, bottom);
    object.width = std::clamp(row[2], 0.f, right) - object.left;
    object.height = std::clamp(row[3], 0.f, bottom) - object.top;
    if (object.width > 0 && object.height > 0) objects.push_back(object);
  }
  return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseDealYolo);
