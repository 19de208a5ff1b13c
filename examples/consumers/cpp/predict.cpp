// Predict the class of photos with an OpenVINO model: predict cats_dogs_openvino photo.ppm
// The photos are binary PPM files (P6, 8 bits) of the model's size.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <stdexcept>
#include <string>
#include <vector>

std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

std::vector<unsigned char> read_ppm(const std::string& path, size_t height, size_t width) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    size_t columns = 0, rows = 0, highest = 0;
    file >> kind >> columns >> rows >> highest;
    file.get();
    std::vector<unsigned char> pixels(height * width * 3);
    const bool fits = kind == "P6" && rows == height && columns == width && highest == 255;
    if (!fits || !file.read(reinterpret_cast<char*>(pixels.data()), pixels.size()))
        throw std::runtime_error(path + " must be a complete P6 file of " + std::to_string(width) + " x " +
                                 std::to_string(height) + " pixels of 8 bits.");
    return pixels;
}

int main(int count, char** arguments) try {
    if (count < 3) throw std::runtime_error("Give the folder of the model and photos.");
    const std::string folder = arguments[1];
    const auto labels = read_lines(folder + "/labels.txt");
    ov::Core core;
    // Without this setting, processors with bfloat16 compute in it.
    auto model = core.compile_model(folder + "/model.xml", "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = model.create_infer_request();
    const auto shape = model.input("image").get_partial_shape();
    const size_t height = shape[1].get_length(), width = shape[2].get_length();
    for (int index = 2; index < count; ++index) {
        const auto pixels = read_ppm(arguments[index], height, width);
        ov::Tensor image(model.input("image").get_element_type(), {1, height, width, 3});
        if (image.get_element_type() == ov::element::u8)
            std::copy(pixels.begin(), pixels.end(), image.data<unsigned char>());
        else
            std::copy(pixels.begin(), pixels.end(), image.data<float>());
        request.set_tensor("image", image);
        request.infer();
        const auto output = request.get_tensor("probabilities");
        const float* first = output.data<float>();
        const float* best = std::max_element(first, first + output.get_size());
        std::printf("%s: %s %.7f\n", arguments[index], labels.at(best - first).c_str(), *best);
    }
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
}
